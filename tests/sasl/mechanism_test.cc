// Every mechanism by the examples of its RFC, what a bad server can say, and which one is taken first.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "protocols/base/text.h"
#include "protocols/sasl/mechanism.h"
#include "protocols/sasl/scram.h"
#include "tests/support/scram_server.h"

using namespace mailhaul;
using sasl::Credentials;

namespace {

Credentials tim(std::string password = "tanstaaftanstaaf") {
  Credentials who;
  who.user = "tim";
  who.password = Secret(std::move(password));
  return who;
}

std::unique_ptr<sasl::Mechanism> made(std::string_view name, const Credentials& who, const sasl::Binding& binding = {},
                                      std::string nonce = {}) {
  auto mechanism = sasl::mechanism(name, who, binding, std::move(nonce));
  REQUIRE_MESSAGE(mechanism, mechanism.error().what);
  return std::move(*mechanism);
}

std::string text(const Result<Secret>& secret) { return secret ? secret->reveal() : "error: " + secret.error().what; }

}  // namespace

TEST_CASE("SCRAM-SHA-1, the example of RFC 5802 §5") {
  Credentials who = tim("pencil");
  who.user = "user";
  const auto scram = made("SCRAM-SHA-1", who, {}, "fyko+d2lbbFgONRv9qkxdawL");
  CHECK(scram->client_first());
  CHECK(text(scram->initial()) == "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
  CHECK(!scram->proved());
  CHECK(text(scram->respond("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")) ==
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
  CHECK(scram->proved());
  CHECK(!scram->finish());
  CHECK(text(scram->respond("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")).empty());
  CHECK(scram->finish());
}

TEST_CASE("SCRAM-SHA-256, the example of RFC 7677 §3") {
  Credentials who = tim("pencil");
  who.user = "user";
  const auto scram = made("SCRAM-SHA-256", who, {}, "rOprNGfwEbeRWgbNEkqO");
  CHECK(text(scram->initial()) == "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  CHECK(
      text(scram->respond("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")) ==
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  CHECK(text(scram->respond("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")).empty());
  CHECK(scram->finish());
}

TEST_CASE("SCRAM: names, channel binding, other users") {
  const sasl::Binding binding{"exported octets", "end point's digest"};
  struct Case {
    std::string name, header, bound;
  };
  const Case cases[] = {
      {"SCRAM-SHA-1", "n,a=o=3Dn=2C,", ""},
      {"SCRAM-SHA-256", "n,a=o=3Dn=2C,", ""},
      {"SCRAM-SHA-256/bindable", "y,a=o=3Dn=2C,", ""},
      {"SCRAM-SHA-256-PLUS", "p=tls-exporter,a=o=3Dn=2C,", binding.exporter},
      {"SCRAM-SHA-1-PLUS/end-point", "p=tls-server-end-point,a=o=3Dn=2C,", binding.end_point},
  };
  for (const auto& c : cases) {
    CAPTURE(c.name);
    Credentials who = tim();
    who.user = "a=b,c";
    who.authzid = "o=n,";
    const auto scram = made(c.name, who, binding);
    CHECK(scram->name() == sasl::wire_name(c.name));
    test::ScramServer server(c.name.find("256") != std::string::npos, "tanstaaftanstaaf");
    const std::string first = text(scram->initial());
    CHECK(first.starts_with(c.header + "n=a=3Db=2Cc,r="));
    CHECK(text(scram->respond(server.final(text(scram->respond(server.first(first))), c.bound))).empty());
    CHECK(scram->finish());
  }
  CHECK(!sasl::mechanism("SCRAM-SHA-256-PLUS", tim(), {}));
}

TEST_CASE("SCRAM: two exchanges have two nonces") {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(text(made("SCRAM-SHA-256", tim())->initial()));
  CHECK(seen.size() == 100);
}

TEST_CASE("SCRAM: passwords that people spell in two ways (RFC 4013)") {
  for (const std::string spelled : {"I\xC2\xAAX", "IaX"}) {  // ª is a by compatibility
    const auto scram = made("SCRAM-SHA-256", tim(spelled));
    test::ScramServer server(true, "IaX");
    CHECK(text(scram->respond(server.final(text(scram->respond(server.first(text(scram->initial()))))))).empty());
    CHECK(scram->finish());
  }
  CHECK(text(sasl::prepared_password(Secret("a\xC2\xA0z"))) == "a z");  // a space is a space
  CHECK(text(sasl::prepared_password(Secret("\xE2\x85\xA8"))) == "IX");
  CHECK(text(sasl::prepared_password(Secret("e\xCC\x81"))) == "\xC3\xA9");
  CHECK(text(sasl::prepared_password(Secret("\xFFodd"))) == "\xFFodd");
  CHECK(!sasl::prepared_password(Secret("bell\x07")));
}

TEST_CASE("SCRAM: what a bad server can say") {
  struct Case {
    std::string first, part;
  };
  const Case cases[] = {
      {"r=nonceX,s=QSXCR+Q6sek8bf92,i=1000001", "more than 1000000 iterations"},
      {"r=nonceX,s=QSXCR+Q6sek8bf92,i=4294967295", "more than 1000000 iterations"},
      {"r=nonceX,s=QSXCR+Q6sek8bf92,i=99999999999999999999", "more than 1000000 iterations"},
      {"r=nonceX,s=QSXCR+Q6sek8bf92,i=0", "iterations is not understood"},
      {"r=nonceX,s=QSXCR+Q6sek8bf92,i=-5", "iterations is not understood"},
      {"r=nonceX,s=QSXCR+Q6sek8bf92,i=40x", "iterations is not understood"},
      {"r=nonce,s=QSXCR+Q6sek8bf92,i=4096", "this exchange's nonce"},
      {"r=other,s=QSXCR+Q6sek8bf92,i=4096", "this exchange's nonce"},
      {"r=nonceX,s=!,i=4096", "not base64"},
      {"r=nonceX,s=!!!!,i=4096", "not base64"},
      {"r=nonceX,s=,i=4096", "not understood"},
      {"m=what,r=nonceX,s=QSXCR+Q6sek8bf92,i=4096", "not understood"},
      {"s=QSXCR+Q6sek8bf92,r=nonceX,i=4096", "not understood"},
      {"", "not understood"},
      {"r=nonceX", "not understood"},
      {"e=unknown-user", "unknown-user"},
      {std::string(70'000, 'x'), "too long"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.first.substr(0, 60));
    const auto scram = made("SCRAM-SHA-256", tim(), {}, "nonce");
    CHECK(scram->initial());
    const auto answer = scram->respond(c.first);
    REQUIRE(!answer);
    CHECK_MESSAGE(answer.error().what.find(c.part) != std::string::npos, answer.error().what);
    CHECK(!scram->finish());
    CHECK(!scram->proved());
  }
}

TEST_CASE("SCRAM: a server that does not know the password is not believed") {
  const std::string good = "r=nonceX,s=QSXCR+Q6sek8bf92,i=16";
  for (const std::string last : {"v=AAAA", "v=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "", "x", "v=*"}) {
    const auto scram = made("SCRAM-SHA-256", tim(), {}, "nonce");
    CHECK(scram->initial());
    CHECK(scram->respond(good));
    CHECK(!scram->respond(last));
    CHECK(!scram->finish());
    CHECK(!scram->respond(last));  // and once more
  }
  const auto refused = made("SCRAM-SHA-256", tim(), {}, "nonce");
  CHECK(refused->initial());
  CHECK(refused->respond(good));
  CHECK(text(refused->respond("e=invalid-proof,x=y")).empty());
  CHECK(refused->said() == "invalid-proof");
  CHECK(!refused->finish());
}

TEST_CASE("CRAM-MD5, the example of RFC 2195 §2") {
  const auto cram = made("CRAM-MD5", tim());
  CHECK(!cram->client_first());
  CHECK(text(cram->respond("<1896.697170952@postoffice.reston.mci.net>")) == "tim b913a602c7eda7a495b4e6e7334d3890");
  CHECK(!cram->respond("<again@x>"));
  CHECK(!made("CRAM-MD5", tim())->respond(""));
}

TEST_CASE("cve_2026_43859: the challenge and the digest are octets, not C strings") {
  CHECK(text(made("CRAM-MD5", tim())->respond(std::string("a\0b", 3))) != text(made("CRAM-MD5", tim())->respond("a")));
  CHECK(text(made("CRAM-MD5", tim())->respond(std::string("a\0b", 3))).size() == std::string("tim ").size() + 32);
}

TEST_CASE("LOGIN asks twice, whatever the words") {
  const auto login = made("LOGIN", tim());
  CHECK(!login->client_first());
  CHECK(text(login->respond("User Name")) == "tim");
  CHECK(text(login->respond("Password")) == "tanstaaftanstaaf");
  CHECK(!login->respond("PIN"));
}

TEST_CASE("XOAUTH2 and OAUTHBEARER, by their examples") {
  Credentials who;
  who.user = "someuser@example.com";
  who.token = Secret("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
  const auto google = made("XOAUTH2", who);
  CHECK(base64(text(google->initial())) ==
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2"
        "cBAQ==");
  CHECK(text(google->respond(R"({"status":"400"})")).empty());
  CHECK(google->said() == R"({"status":"400"})");
  CHECK(!google->respond("more"));

  who.user = "user@example.com";  // RFC 7628 §4.1
  who.token = Secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
  who.host = "server.example.com";
  who.port = 143;
  const auto bearer = made("OAUTHBEARER", who);
  CHECK(text(bearer->initial()) ==
        "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
        "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01");
  CHECK(text(bearer->respond("{}")) == "\x01");  // §3.2.3

  who.token = Secret(
      "a\x01"
      "b");
  CHECK(!sasl::mechanism("XOAUTH2", who));
  who.token = Secret();
  CHECK(!sasl::mechanism("OAUTHBEARER", who));
}

TEST_CASE("EXTERNAL says whose mail, or nothing") {
  Credentials who;
  who.certificate = true;
  CHECK(text(made("EXTERNAL", who)->initial()).empty());
  who.authzid = "fred@example.com";
  CHECK(text(made("EXTERNAL", who)->initial()) == "fred@example.com");
}

TEST_CASE("the strongest that is offered and can be used") {
  struct Case {
    std::string offered, chosen;
    int kind;  // 0 password, 1 token, 2 certificate, 3 password for another user
    bool tls;
  };
  const Case cases[] = {
      {"PLAIN LOGIN", "PLAIN LOGIN ", 0, true},
      {"PLAIN LOGIN CRAM-MD5", "CRAM-MD5 PLAIN LOGIN ", 0, true},
      {"PLAIN SCRAM-SHA-1 SCRAM-SHA-256", "SCRAM-SHA-256/bindable SCRAM-SHA-1/bindable PLAIN ", 0, true},
      {"PLAIN SCRAM-SHA-1", "SCRAM-SHA-1 PLAIN ", 0, false},
      {"SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS SCRAM-SHA-256-PLUS/end-point SCRAM-SHA-256 ", 0, true},
      {"SCRAM-SHA-256 SCRAM-SHA-1-PLUS", "SCRAM-SHA-1-PLUS SCRAM-SHA-1-PLUS/end-point SCRAM-SHA-256 ", 0, true},
      {"PLAIN XOAUTH2 OAUTHBEARER", "PLAIN ", 0, true},
      {"PLAIN XOAUTH2 OAUTHBEARER", "OAUTHBEARER XOAUTH2 ", 1, true},
      {"PLAIN XOAUTH2", "XOAUTH2 ", 1, true},
      {"PLAIN", "", 1, true},
      {"PLAIN EXTERNAL", "EXTERNAL ", 2, true},
      {"PLAIN EXTERNAL", "PLAIN ", 0, true},
      {"LOGIN CRAM-MD5 PLAIN", "PLAIN ", 3, true},
      {"NTLM GSSAPI DIGEST-MD5", "", 0, true},
  };
  for (const auto& c : cases) {
    CAPTURE(c.offered);
    Credentials who;
    who.user = "u";
    if (c.kind == 0 || c.kind == 3) who.password = Secret("p");
    if (c.kind == 1) who.token = Secret("t");
    who.certificate = c.kind == 2;
    if (c.kind == 3) who.authzid = "other";
    std::string all;
    const auto offers = [&](std::string_view name) {
      return (" " + c.offered + " ").find(" " + std::string(name) + " ") != std::string::npos;
    };
    for (const auto& name : sasl::choose(offers, who, c.tls ? sasl::Binding{"x", "y"} : sasl::Binding{}))
      all += name + " ";
    CHECK(all == c.chosen);
  }
}

TEST_CASE("cve_2026_43862, cve_2013_0249: GSSAPI, NTLM, DIGEST-MD5 and the like are never chosen") {
  Credentials who = tim();
  who.certificate = true;
  const auto all = sasl::choose([](std::string_view) { return true; }, who, sasl::Binding{"x", "y"});
  CHECK(!all.empty());
  for (const char* name : {"GSSAPI", "GS2-KRB5", "NTLM", "DIGEST-MD5", "ANONYMOUS", "SKEY", "OTP", "KERBEROS_V4"}) {
    CHECK(std::ranges::find(all, name) == all.end());
    CHECK(!sasl::mechanism(name, who));
  }
}

TEST_CASE("cve_2026_8925: an exchange may end at any step, and an ended one says nothing more") {
  for (const char* name :
       {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"})
    for (const char* challenge : {"", "x", "r=,s=,i=0", "e=other-error", "{\"status\":\"401\"}"})
      for (int steps = 0; steps < 5; ++steps) {
        CAPTURE(name);
        Credentials who = tim();
        who.token = Secret("token");
        const auto mechanism = made(name, who);
        if (mechanism->client_first()) CHECK(mechanism->initial());
        int refused = 0;
        for (int i = 0; i < steps; ++i) refused += mechanism->respond(challenge) ? 0 : 1;
        if (steps == 4) CHECK(refused >= 2);  // two questions are the most that any of them answers
        if (std::string_view(name).starts_with("SCRAM")) CHECK(!mechanism->finish());
      }
}

TEST_CASE("cve_2018_16839: long names and passwords are octets of any number") {
  const std::string big(1 << 20, 'x');
  Credentials who = tim(big);
  who.user = big;
  CHECK(text(made("PLAIN", who)->initial()).size() == 2 * big.size() + 2);
  CHECK(text(made("CRAM-MD5", who)->respond("<c@h>")).size() == big.size() + 33);
}

TEST_CASE("cve_2026_43861: a NUL goes into no message") {
  const std::string nul("a\0b", 3);
  for (const char* name : {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"}) {
    Credentials who = tim();
    who.user = nul;
    CHECK(!sasl::mechanism(name, who));
    who = tim(nul);
    CHECK(!sasl::mechanism(name, who));
  }
}

TEST_CASE("base64, there and back") {
  for (const std::string octets : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    CHECK(unbase64(base64(octets)) == octets);
  }
  for (const char* bad : {"Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zm 9", "Zg==Zg==", "Zm9v\n", "-_-_"})
    CHECK_MESSAGE(!unbase64(bad), bad);
  CHECK(unbase64(base64(std::string("\0\xFF\0", 3))) == std::string("\0\xFF\0", 3));
}
