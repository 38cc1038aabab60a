// CRLF to LF and back: every cut, against the plainest reference.
#include <doctest/doctest.h>

#include <random>

#include "store/maildir_line_ends.h"
#include "tests/store/maildir_fixture.h"

namespace mailhaul::store {
namespace {

struct Expected {
  StoredForm form = StoredForm::Lf;
  std::string disk;
  std::uint64_t crlf_octets = 0;
};

Expected reference(const std::string& wire) {
  Expected expected;
  for (std::size_t i = 0; i < wire.size(); ++i) {
    if (wire[i] != '\n') continue;
    const bool one = i >= 1 && wire[i - 1] == '\r';
    const bool two = i >= 2 && wire[i - 2] == '\r';
    if (!one || two) expected.form = StoredForm::AsReceived;
    if (!one) ++expected.crlf_octets;
  }
  expected.crlf_octets += wire.size();
  for (std::size_t i = 0; i < wire.size(); ++i)
    if (expected.form == StoredForm::AsReceived || wire[i] != '\r' || i + 1 == wire.size() || wire[i + 1] != '\n')
      expected.disk += wire[i];
  return expected;
}

std::string expanded(const std::string& lf) {
  std::string out(lf.size() * 2, '?');
  out.resize(static_cast<std::size_t>(lf_to_crlf(lf, out.data()) - out.data()));
  return out;
}

TEST_CASE("line ends: all texts of CR, LF and a letter up to seven octets, at all single cuts") {
  for (std::size_t size = 0; size <= 7; ++size) {
    std::size_t count = 1;
    for (std::size_t i = 0; i < size; ++i) count *= 3;
    for (std::size_t code = 0; code < count; ++code) {
      std::string wire;
      for (std::size_t i = 0, rest = code; i < size; ++i, rest /= 3) wire += "\r\nx"[rest % 3];
      const Expected expected = reference(wire);
      for (std::size_t cut = 0; cut <= size; ++cut) {
        CrlfToLf converter;
        BareLfCounter counter;
        std::string lf(size + 2, '?');
        char* out = lf.data();
        std::size_t used = converter.feed(std::string_view(wire).substr(0, cut), out);
        if (used == cut) used += converter.feed(std::string_view(wire).substr(cut), out);
        lf.resize(static_cast<std::size_t>(out - lf.data()));
        counter.feed(std::string_view(wire).substr(0, cut));
        counter.feed(std::string_view(wire).substr(cut));
        REQUIRE(counter.count() == expected.crlf_octets - size);
        if (expected.form == StoredForm::Lf) {
          REQUIRE(used == size);
          if (converter.held()) lf += '\r';
          REQUIRE(lf == expected.disk);
          REQUIRE(expanded(lf) == wire);
        } else {
          REQUIRE(used < size);
          REQUIRE(expanded(lf) + (converter.held() ? "\r" : "") + wire.substr(used) == wire);
        }
      }
    }
  }
}

Letter random_letter(std::mt19937_64& random, int i) {
  std::string wire = "Subject: x\r\n\r\n";
  const std::size_t size = random() % 20 == 0 ? 200'000 + random() % 30'000 : random() % 300;
  while (wire.size() < size) {
    wire.append(random() % 80, 'x');
    switch (random() % (random() % 2 == 0 ? 400 : 5000)) {
      case 0:
        wire += "\n";
        break;
      case 1:
        wire += "\r\r\n";
        break;
      case 2:
        wire += "\r";
        break;
      default:
        wire += "\r\n";
    }
  }
  return Letter{"letter " + std::to_string(i), "", wire, {}};
}

TEST_CASE("messages with every kind of line end, in random chunks, are stored right and given back exactly") {
  std::mt19937_64 random(3);
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  std::size_t raw = 0;
  for (int i = 0; i < 400; ++i) {
    const Letter letter = random_letter(random, i);
    const Expected expected = reference(letter.wire);
    auto incoming = must(maildir->receive(""));
    for (std::size_t at = 0; at < letter.wire.size();) {
      const std::size_t n = random() % (random() % 2 == 0 ? 10 : 100'000);
      must(incoming.write(std::string_view(letter.wire).substr(at, n)));
      at += n;
    }
    const Received told = must(incoming.finish());
    CHECK(told.wire_octets == letter.wire.size());
    CHECK(told.disk_octets == expected.disk.size());
    CHECK(told.crlf_octets == expected.crlf_octets);
    CHECK(told.form == expected.form);
    CHECK(told.sha256 == mail::Sha256::of(letter.wire));
    raw += told.form == StoredForm::AsReceived ? 1 : 0;
    Batch batch;
    batch.emplace_back("", Delivery{std::move(incoming), key_of(letter.name), letter.seconds, {}});
    const auto names = must(maildir->deliver(batch));
    const FoundCopy copy{*MaildirName::parse(names[0]), names[0], false};
    CHECK(copy.name.disk_octets == expected.disk.size());
    CHECK(copy.name.crlf_octets == expected.crlf_octets);
    REQUIRE(fs.files().at("/m/cur/" + names[0]) == expected.disk);
    REQUIRE(wire_of(*maildir, "", copy, told.form) == letter.wire);
    must(maildir->remove("", copy));
  }
  CHECK(raw > 20);
  CHECK(raw < 380);
  CHECK(count_ending(fs.files(), ".mailhaul") == 0);  // nothing is left in tmp/
}

TEST_CASE("messages: all texts of CR, LF and a letter up to five octets, at all single cuts, come back exactly") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  Batch batch;
  std::vector<std::pair<std::string, Received>> expected;
  for (std::size_t size = 0, count = 1; size <= 5; ++size, count *= 3)
    for (std::size_t code = 0; code < count; ++code) {
      std::string wire;
      for (std::size_t i = 0, rest = code; i < size; ++i, rest /= 3) wire += "\r\nx"[rest % 3];
      for (std::size_t cut = 0; cut <= size; ++cut) {
        auto incoming = must(maildir->receive(""));
        must(incoming.write(std::string_view(wire).substr(0, cut)));
        must(incoming.write(std::string_view(wire).substr(cut)));
        expected.emplace_back(wire, must(incoming.finish(1)));
        batch.emplace_back("", Delivery{std::move(incoming), key_of(std::to_string(batch.size())), 1, {}});
      }
    }
  const auto names = must(maildir->deliver(batch));
  const auto files = fs.files();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& [wire, told] = expected[i];
    REQUIRE(told.form == reference(wire).form);
    REQUIRE(told.crlf_octets == reference(wire).crlf_octets);
    REQUIRE(files.at("/m/cur/" + names[i]) == reference(wire).disk);
    REQUIRE(wire_of(*maildir, "", {*MaildirName::parse(names[i]), names[i], false}, told.form) == wire);
  }
  CHECK(names.size() == 2005);
}

TEST_CASE("a bare LF behind 64 KiB, 128 KiB and at every octet around a full buffer: rewritten as received") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  std::string line(62, 'y');
  line += "\r\n";
  std::string base;
  while (base.size() < 150'000) base += line;
  for (const std::size_t around : {std::size_t{64 * 1024}, std::size_t{2 * 64 * 1024}})
    for (std::size_t at = around - 70; at < around + 70; ++at) {
      std::string wire = base;
      wire[at] = '\n';
      Received told;
      Letter letter{"at " + std::to_string(at), "", wire, {}};
      Batch batch;
      batch.emplace_back("", must(received(*maildir, letter, &told)));
      const auto names = must(maildir->deliver(batch));
      const bool still_crlf = wire == base;
      CHECK(told.form == (still_crlf ? StoredForm::Lf : StoredForm::AsReceived));
      REQUIRE(wire_of(*maildir, "", {*MaildirName::parse(names[0]), names[0], false}, told.form) == wire);
      must(maildir->remove("", {*MaildirName::parse(names[0]), names[0], false}));
    }
  CHECK(count_ending(fs.files(), ".mailhaul") == 0);
}

}  // namespace
}  // namespace mailhaul::store
