// Addresses, signatures and mail texts; what goes over the wire is in tests/e2e/notify_test.py, against real receivers.
#include "protocols/notify/notify.h"

#include <doctest/doctest.h>

#include "protocols/notify/mail_text.h"
#include "protocols/notify/webhook.h"

namespace mailhaul::notify {
namespace {

TEST_CASE("an address is taken apart") {
  const auto parts = [](std::string_view url) {
    const auto p = parse_url(url);
    return p ? p->scheme + "|" + p->user + "|" + p->host + "|" + std::to_string(p->port) + "|" + p->path : "none";
  };
  CHECK(parts("smtps://you@example.org@mail.example.org:465") == "smtps|you@example.org|mail.example.org|465|");
  CHECK(parts("https://[::1]:8443/a?b@c") == "https||[::1]|8443|/a?b@c");
  CHECK(parts("smtp://mail.example.org") == "smtp||mail.example.org|0|");
  for (const auto* bad :
       {"", "example.org", "https://", "https://host:0", "https://host:x", "https://a b", "smtp://h\r\nQUIT"})
    CHECK_MESSAGE(parts(bad) == "none", std::string(bad));
}

TEST_CASE("a place is refused before anything is sent there") {
  const auto complaint = [](Place place) {
    const auto fine = check(place);
    return fine ? std::string() : fine.error().what;
  };
  const std::string key = "whsec_" + base64(std::string(32, 'k'));
  CHECK(complaint({Kind::Webhook, "https://example.org/hook", "", "", Secret(std::string(key)), false, ""}).empty());
  CHECK(complaint({Kind::Webhook, "http://example.org/hook", "", "", Secret(std::string(key)), true, ""}).empty());
  CHECK(complaint({Kind::Webhook, "http://example.org/hook", "", "", Secret(std::string(key)), false, ""}) ==
        "http:// is not protected");
  CHECK(complaint({Kind::Webhook, "https://a:b@example.org/", "", "", Secret(std::string(key)), false, ""}) ==
        "a web address without credentials in it");
  CHECK(complaint({Kind::Webhook, "https://example.org/", "", "", Secret("whsec_c2hvcnQ="), false, ""})
            .starts_with("a webhook's secret"));
  CHECK(complaint({Kind::Ntfy, "https://ntfy.example.org", "", "", Secret(), false, ""}) ==
        "an ntfy address ends with a topic");
  CHECK(complaint({Kind::Ntfy, "https://ntfy.example.org/mail", "", "", Secret(), false, ""}).empty());
  CHECK(complaint({Kind::Mail, "smtps://you@example.org", "a@example.org", "b@example.org", Secret(), false, ""})
            .empty());
  CHECK(complaint({Kind::Mail, "smtps://you@example.org", "a@example.org", "b@example.org>\r\nRCPT TO:<c@d", Secret(),
                   false, ""})
            .starts_with("mail needs"));
  CHECK(
      complaint({Kind::Mail, "https://example.org", "a@b", "c@d", Secret(), false, ""}).starts_with("a mail server's"));
}

TEST_CASE("a signature covers id, time and body, as Standard Webhooks has it") {
  // Made with Python's hmac: base64(hmac.new(b"k" * 32, b'msg_1.1700000000.{"a":1}', "sha256").digest())
  const auto key = webhook_key("whsec_" + base64(std::string(32, 'k')));
  REQUIRE(key);
  CHECK(webhook_signature(*key, "msg_1", 1'700'000'000, R"({"a":1})") ==
        "v1,tDnYFrCIK4MQWDoOot4FXQ7/xKQ3Ta7J5hEfw60KmoA=");
  CHECK(webhook_signature(*key, "msg_1", 1'700'000'001, R"({"a":1})") !=
        webhook_signature(*key, "msg_1", 1'700'000'000, R"({"a":1})"));
  for (const auto* bad : {"", "whsec_", "whsec_AAAA", "sec_a2tra2tra2tra2tra2tra2tra2tra2s=", "whsec_!!!!"})
    CHECK_MESSAGE(!webhook_key(bad), std::string(bad));
}

TEST_CASE("a mail is ASCII, its lines are short, and nothing of a name becomes a field") {
  Message message{"msg_1",     "job.failing", 1'700'000'000, "Zoë's mail\r\nBcc: x@y: failing for a day 💌💌💌💌💌💌💌💌💌💌",
                  "what\nwhy", "{}"};
  const auto text = mail_text(message, "a@example.org", "b@example.net");
  CHECK(text.find("Message-ID: <msg_1@example.org>\r\n") != std::string::npos);
  CHECK(text.find("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n") != std::string::npos);
  CHECK(text.find("\r\nBcc:") == std::string::npos);
  for (std::size_t at = 0; at < text.size();) {
    const auto end = text.find("\r\n", at);
    REQUIRE(end != std::string::npos);
    CHECK(end - at <= 78);
    for (std::size_t i = at; i < end; ++i) CHECK((text[i] >= ' ' && text[i] < 0x7f));
    at = end + 2;
  }
  CHECK(is_mail_address("you@example.org"));
  for (const auto* bad : {"", "you", "@b", "a@", "a@b@c", "a b@c", "a@b\r\n", "a@b,c@d", "<a@b>"})
    CHECK(!is_mail_address(bad));
}

}  // namespace
}  // namespace mailhaul::notify
