#include <doctest/doctest.h>

#include <algorithm>

#include "protocols/mail/digest.h"
#include "tests/mail/random.h"

using namespace mailhaul::mail;

namespace {

Evidence scan(std::string_view message, std::size_t piece = SIZE_MAX) {
  HeaderScanner scanner;
  for (; !message.empty(); message.remove_prefix(std::min(piece, message.size())))
    scanner.update(message.substr(0, piece));
  return scanner.finish();
}

std::array<std::uint8_t, 16> digest_of(std::string_view canonical) {
  const Sha256Digest whole = Sha256::of(canonical);
  std::array<std::uint8_t, 16> first{};
  std::copy_n(whole.begin(), first.size(), first.begin());
  return first;
}

}  // namespace

TEST_CASE("SHA-256 against FIPS 180-4's examples, in pieces too, again and again") {
  CHECK(hex(Sha256::of("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex(Sha256::of("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 hash;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 1000; ++i) hash.update(std::string(1000, 'a'));
    CHECK(hex(hash.finish()) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    hash.reset();
  }
  hash.update("gone");
  hash.reset();
  hash.update("a");
  Sha256 moved = std::move(hash);
  moved.update("bc");
  CHECK(moved.finish() == Sha256::of("abc"));
  CHECK(hex("\x01\xff"
            "A") == "01ff41");
}

TEST_CASE("evidence of an ordinary message") {
  const Evidence e = scan(
      "Received: from a by b;\r\n\tTue, 2 Jan 2024 03:04:05 +0100\r\n"
      "Received: from c by a; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
      "MESSAGE-ID:  <1@example.org> \r\n"
      "Subject: two\r\n  lines\t here \r\n"
      "Subject: second\r\n"
      "From: \"A\" <a@example.org>\r\n"
      "Date : Sun, 31 Dec 2023 23:59:59 -0000\r\n"
      "X-To: nobody\r\n more\r\n"
      "\r\n"
      "Message-ID: <body@example.org>\r\n");
  CHECK(e.message_id == "<1@example.org>");
  CHECK(e.received_date == 1704161045);
  CHECK(e.date == 1704067199);
  CHECK(e.header_digest == digest_of("message-id:<1@example.org>\ndate:Sun, 31 Dec 2023 23:59:59 -0000\n"
                                     "from:\"A\" <a@example.org>\nsubject:two lines here\n"
                                     "received:from c by a; Mon, 1 Jan 2024 00:00:00 +0000\n"));
}

TEST_CASE("headers as they come") {
  CHECK(scan("") == scan("\r\n\r\nMessage-ID: <x>\r\n"));
  CHECK(scan("").header_digest == digest_of(""));
  CHECK(scan("Message-ID: <x>").message_id == "<x>");
  CHECK(scan("Message-ID:\r\n <x>\r\n").message_id == "<x>");
  CHECK(scan("Message-ID: x y\r\n").message_id == "x y");
  CHECK(scan("Message-ID: junk <x> (comment)\r\n").message_id == "<x>");
  CHECK(scan("Message-ID:\r\n\r\n").message_id.empty());
  CHECK(scan("Message-ID: <" + std::string(2000, 'x') + ">\r\n").message_id.empty());
  CHECK(scan("Message-ID2: <x>\r\nMessage-I: <y>\r\n").message_id.empty());
  CHECK(scan("From bob Mon Jan 1\r\nMessage-ID: <x>\n\nSubject: no\n").message_id == "<x>");
  CHECK(scan(" folded first\r\nno colon here\r\nMessage-ID: <x>\r\n").message_id == "<x>");
  CHECK(scan("Message-ID: <x>\rSubject: y\r\n\r\n").message_id == "<x>");  // a bare CR ends no line
  CHECK(scan("Subject: a\nMessage-ID: <lf>\n\nbody").message_id == "<lf>");
  CHECK(scan("Received: no date\r\n").received_date == std::nullopt);
  CHECK(scan("Received: x; junk\r\nReceived: y; 1 Jan 2024 00:00 +0000\r\n").received_date == std::nullopt);
  CHECK(scan(std::string("Subject: a\0b\r\n", 14)).header_digest == digest_of(std::string("subject:a\0b\n", 12)));
  CHECK(scan("Received: one;\r\n 1 Jan 2024 00:00:00 +0000\r\n").header_digest ==
        digest_of("received:one; 1 Jan 2024 00:00:00 +0000\n"));
  // What servers and clients add or refold changes nothing.
  CHECK(scan("X-Message-Flag: x\r\nSubject: a\r\n b\r\nStatus: RO\r\n\r\n").header_digest ==
        scan("Subject:\r\n\ta b\r\nX-UID: 4\r\n\r\n").header_digest);
}

TEST_CASE("the chunking does not matter") {
  mailhaul::mail::testing::Random random(5);
  const char* const pieces[] = {"Received:",
                                "Message-ID:",
                                " <a@b>",
                                "\r\n",
                                "\n",
                                "\r",
                                " ",
                                "\t",
                                "Date: ",
                                "1 Jan 2024 00:00 +0000",
                                ";",
                                "Subject",
                                ":",
                                "x",
                                "From: a\r\n",
                                "\r\n\r\n",
                                "To: b\n c\r\n"};
  for (int round = 0; round < 3000; ++round) {
    std::string message;
    for (std::size_t i = random() % 30; i > 0; --i) message += pieces[random() % std::size(pieces)];
    const Evidence whole = scan(message);
    REQUIRE(scan(message, 1) == whole);
    REQUIRE(scan(message, 3) == whole);
  }
}

TEST_CASE("no more than the limit is looked at, and a scanner can be used again") {
  const std::string long_header = "X: " + std::string(HeaderScanner::kLimit, 'x') + "\r\nMessage-ID: <late>\r\n\r\n";
  CHECK(scan(long_header).message_id.empty());
  CHECK(scan(long_header, 1000) == scan(long_header));
  HeaderScanner scanner;
  scanner.update(long_header);
  scanner.finish();
  scanner.reset();
  scanner.update("Message-ID: <x>\r\n\r\n");
  scanner.update(long_header);
  CHECK(scanner.finish() == scan("Message-ID: <x>\r\n"));
}
