// What the messages of a maildrop are called.
#include "collector/pop3_names.h"

#include <doctest/doctest.h>

using namespace mailhaul;
using namespace mailhaul::collector;

namespace {

HeaderText::Read read(const std::string& text, std::size_t chunk = SIZE_MAX) {
  HeaderText header;
  for (std::size_t at = 0; at < text.size(); at += std::min(chunk, text.size()))
    header.add(std::string_view(text).substr(at, chunk));
  return header.finish();
}

const std::string kLetter = "Message-ID: <a@example.org>\r\nSubject: one\r\n\r\n";

store::NameRow row(std::uint32_t uid, std::string name, std::uint64_t octets) {
  return {mail::Uid{uid}, std::move(name), octets, 0, 0};
}

DropMessage message(pop3::MessageNumber n, std::string uidl, std::uint64_t octets, const std::string& text = "") {
  DropMessage out{n, octets, std::move(uidl), {}, {}, {}};
  if (!text.empty()) out.header = read(text);
  return out;
}

}  // namespace

TEST_CASE("POP3 headers: the digest ends with the header, and leaves out what servers write into mail") {
  const auto digest = read(kLetter).digest;
  CHECK(digest.size() == 32);
  for (const auto* same : {
           "Message-ID: <a@example.org>\r\nSubject: one\r\n\r\nbody\r\n",
           "Message-ID: <a@example.org>\r\nSubject: one\r\n",  // TOP without the empty line
           "Message-ID: <a@example.org>\nSubject: one\n\nbody\n",
           "Status: RO\r\nMessage-ID: <a@example.org>\r\nX-UID: 7\r\nSubject: one\r\nX-IMAPbase: 1 2\r\n "
           "folded\r\n\r\n",
           "From a@b Thu Nov 14\r\nMessage-ID: <a@example.org>\r\nSubject: one\r\ncontent-length: 9\r\n\r\n",
           "+OK 2 lines\r\nMessage-ID: <a@example.org>\r\nSubject: one\r\n\r\n",
       }) {
    INFO(same);
    for (const std::size_t chunk : {SIZE_MAX, std::size_t{1}, std::size_t{3}}) {
      CHECK(read(same, chunk).digest == digest);
      CHECK(read(same, chunk).evidence.message_id == "<a@example.org>");
    }
  }
  for (const auto* other : {
           "Message-ID: <a@example.org>\r\nSubject: two\r\n\r\n",
           "Message-ID: <a@example.org>\r\nSubject: one\r\n folded\r\n\r\n",
           "Message-ID: <a@example.org>\r\nSubject: one\r\nX-Statusless: x\r\n\r\n",
           "Subject: one\r\nMessage-ID: <a@example.org>\r\n\r\n",
           "",
       })
    CHECK(read(other).digest != digest);
  HeaderText endless;
  for (int i = 0; i < 100'000; ++i) endless.add("X-More: and more\r\n");
  CHECK(endless.finish().digest.size() == 32);
}

TEST_CASE("cve_2021_3181: a header of address groups takes no memory and no time beyond the limit") {
  const std::string groups = "To: " + std::string(HeaderText::kLimit, ':');
  HeaderText ours, others;
  ours.add(groups);
  others.add(groups);
  for (int i = 0; i < 10'000; ++i) others.add("a:;,b:;,c:;,d:;,e:;,f:;,g:;,h:;,i:;,j:;,k:;,l:;,m:;,n:;,o:;,p:;,\r\n ");
  CHECK(others.text().size() == HeaderText::kLimit);  // what comes behind is not kept
  CHECK(ours.finish().digest == others.finish().digest);
}

TEST_CASE("POP3: flags of Status and X-Status") {
  const auto flags = [](const std::string& header) { return flags_of_status(header).maildir_letters(); };
  CHECK(flags("Subject: x\r\nStatus: RO\r\nX-Status: AF\r\n") == "FRS");
  CHECK(flags("status:r\nx-status:\n") == "");
  CHECK(flags("STATUS: R\n") == "S");
  CHECK(flags("Status: O\r\nX-Status: DT\r\n") == "D");
  CHECK(flags("Status: O\r\nStatus: R\r\n") == "");  // the second one is somebody else's
  CHECK(flags("X-Mozilla-Status: R\r\nSubject: Status: R\r\n Status: R\r\n") == "");
  CHECK(flags("") == "");
}

TEST_CASE("POP3 names: whose headers must be read") {
  const std::vector<store::NameRow> known{row(1, "a", 10), row(2, "b", 20),
                                          row(3,
                                              std::string("q\0"
                                                          "0123",
                                                          6),
                                              30)};
  const Naming naming(known);
  const std::vector<DropMessage> drop{
      message(1, "a", 10),                       // known, as it was
      message(2, "b", 21),                       // another size
      message(3, "new", 5),                      // new
      message(4, "t", 5),   message(5, "t", 6),  // twins
      message(6, "", 9),                         // no unique-id
      message(7, "q", 30),                       // once meant several
  };
  CHECK(naming.need_headers(drop) == std::vector<std::size_t>{1, 3, 4, 5, 6});
  CHECK(naming.to_check(drop).wire() == "2");
}

TEST_CASE("POP3 names: known messages keep their UIDs, others get names of their own") {
  const std::string other = "Message-ID: <b@example.org>\r\nSubject: two\r\n\r\n";
  const auto mine = read(kLetter), theirs = read(other);
  const auto qualified = [](const std::string& uidl, const HeaderText::Read& header) {
    return uidl + std::string(1, '\0') + header.digest;
  };
  const std::vector<store::NameRow> known{row(1, "a", 10)};
  const std::map<mail::Uid, mail::Evidence> delivered{{mail::Uid{1}, mine.evidence}};
  const auto names = [&](std::vector<DropMessage> drop, const std::map<mail::Uid, mail::Evidence>& rows) {
    Naming naming(known);
    (void)naming.name_all(drop, rows);
    std::vector<std::pair<std::string, std::uint32_t>> out;
    for (const auto& m : drop) out.emplace_back(m.name, m.uid.value);
    return out;
  };
  using Names = std::vector<std::pair<std::string, std::uint32_t>>;
  CHECK(names({message(1, "a", 10)}, {}) == Names{{"a", 1}});
  CHECK(names({message(1, "a", 11, kLetter)}, delivered) == Names{{"a", 1}});  // grown, and the same
  CHECK(names({message(1, "a", 11, other)}, delivered) == Names{{qualified("a", theirs), 0}});
  CHECK(names({message(1, "a", 11, other)}, {}) == Names{{"a", 1}});  // nothing was delivered under it yet
  // Twins: the one that is known keeps its name, wherever it stands.
  CHECK(names({message(1, "a", 9, other), message(2, "a", 10, kLetter)}, delivered) ==
        Names{{qualified("a", theirs), 0}, {"a", 1}});
  CHECK(names({message(1, "a", 10, kLetter), message(2, "a", 10, kLetter)}, delivered) ==
        Names{{"a", 1}, {qualified("a", mine), 0}});
  // Without unique-ids, equal ones are counted.
  CHECK(names({message(1, "", 9, other), message(2, "", 9, other), message(3, "", 9, kLetter)}, {}) ==
        Names{{qualified("", theirs), 0},
              {qualified("", theirs) + std::string("\0"
                                                   "1",
                                                   2),
               0},
              {qualified("", mine), 0}});
  // A header that was read for another reason changes no name.
  CHECK(names({message(1, "x", 9, other)}, {}) == Names{{"x", 0}});
}

TEST_CASE("POP3 names: when a maildrop looks as if all its names had changed") {
  struct Row {
    std::uint64_t delivered, missing, listed, fresh;
    bool looks;
  };
  for (const auto& r : {Row{100, 100, 101, 101, true}, Row{100, 50, 100, 50, true}, Row{100, 49, 100, 50, false},
                        Row{100, 50, 100, 49, false}, Row{0, 0, 10, 10, false}, Row{10, 10, 0, 0, false},
                        Row{1, 1, 1, 1, true}, Row{100, 0, 100, 0, false}, Row{100, 100, 300, 3, false}}) {
    CAPTURE(r.missing);
    CAPTURE(r.fresh);
    CHECK(looks_renamed(r.delivered, r.missing, r.listed, r.fresh) == r.looks);
  }
}

TEST_CASE("POP3 lists: numbers and what follows them") {
  struct Row {
    const char* line;
    bool good;
    pop3::MessageNumber number;
    const char* rest;
  };
  for (const auto& r :
       {Row{"1 abc", true, 1, "abc"}, Row{"12\tabc ", true, 12, "abc"}, Row{" 3  a b ", true, 3, "a b"},
        Row{"4", true, 4, ""}, Row{"0 x", false, 0, ""}, Row{"x 1", false, 0, ""}, Row{"", false, 0, ""},
        Row{"5x y", false, 0, ""}, Row{"-1 x", false, 0, ""}, Row{"99999999999 x", false, 0, ""}}) {
    CAPTURE(r.line);
    pop3::MessageNumber number = 0;
    std::string_view rest;
    CHECK(parse_numbered(r.line, number, rest) == r.good);
    if (!r.good) continue;
    CHECK(number == r.number);
    CHECK(rest == r.rest);
  }
}
