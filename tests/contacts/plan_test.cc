// The table of what happens to a card, line by line.
#include "collector/contacts/plan.h"

#include <doctest/doctest.h>

#include "collector/contacts/vcard.h"

using namespace mailhaul;
using namespace mailhaul::contacts;
using store::CardRow;
using store::CardState;

namespace {

constexpr std::int64_t kNow = 1'000'000;
using What = Seen::What;

CardRow row(CardState state, const std::string& etag, const std::string& wanted) {
  CardRow out;
  out.state = state;
  out.etag = etag;
  out.wanted = wanted;
  return out;
}
CardRow failed(std::int64_t next_try, const std::string& wanted) {
  auto out = row(CardState::Failed, "", wanted);
  out.next_try = next_try;
  return out;
}

mail::Sha256Digest digest(std::uint8_t of) { return {of}; }

}  // namespace

TEST_CASE("plan: source × row → step") {
  struct Line {
    const char* what;
    std::optional<CardRow> row;
    Seen seen;
    Step step;
  };
  const Seen a{What::Present, "a"}, b{What::Present, "b"}, none{What::Present, ""}, gone{What::Gone, ""}, silent{};
  const Line table[] = {
      {"new", {}, a, Step::Fetch},
      {"never known, never seen", {}, silent, Step::Nothing},
      {"gone before it was known", {}, gone, Step::Nothing},
      {"listed, present", row(CardState::Listed, "", "a"), a, Step::Fetch},
      {"listed by an earlier run", row(CardState::Listed, "", "a"), silent, Step::Fetch},
      {"listed, gone", row(CardState::Listed, "", "a"), gone, Step::Forget},
      {"failed, due", failed(kNow, "a"), a, Step::Fetch},
      {"failed, due, unmentioned", failed(kNow - 1, "a"), silent, Step::Fetch},
      {"failed, not due", failed(kNow + 1, "a"), a, Step::Nothing},
      {"failed, not due, but changed", failed(kNow + 1, "a"), b, Step::Fetch},
      {"failed, gone", failed(kNow + 1, "a"), gone, Step::Forget},
      {"delivered, the same", row(CardState::Delivered, "a", "a"), a, Step::Nothing},
      {"delivered, changed", row(CardState::Delivered, "a", "a"), b, Step::Fetch},
      {"delivered, no ETags there", row(CardState::Delivered, "", ""), none, Step::Fetch},
      {"delivered, silence is no evidence", row(CardState::Delivered, "a", "a"), silent, Step::Nothing},
      {"delivered, a change was seen and not fetched", row(CardState::Delivered, "a", "b"), silent, Step::Fetch},
      {"delivered, gone", row(CardState::Delivered, "a", "a"), gone, Step::Miss},
      {"vanished, still gone", row(CardState::Vanished, "a", "a"), gone, Step::Nothing},
      {"vanished, silence", row(CardState::Vanished, "a", "a"), silent, Step::Nothing},
      {"vanished, back again", row(CardState::Vanished, "a", "a"), a, Step::Fetch},
      {"gone, back again", row(CardState::Gone, "", "a"), a, Step::Fetch},
  };
  for (const auto& line : table) {
    CAPTURE(line.what);
    CHECK(step_of(line.row ? &*line.row : nullptr, line.seen, kNow) == line.step);
  }
}

TEST_CASE("plan: base × fetched × file → delivery") {
  struct Line {
    const char* what;
    std::optional<mail::Sha256Digest> base;
    std::uint8_t fetched;
    std::optional<mail::Sha256Digest> file;
    bool removed;
    Delivery delivery;
  };
  const auto one = digest(1), other = digest(9);
  const Line table[] = {
      {"new", {}, 1, {}, false, Delivery::Write},
      {"the state was lost, the file was not", {}, 1, one, false, Delivery::Adopt},
      {"the state was lost, the file is another", {}, 1, other, false, Delivery::KeepBoth},
      {"an ETag without a change", one, 1, one, false, Delivery::Adopt},
      {"the same, and the owner changed it", one, 1, other, false, Delivery::Settle},
      {"the same, and the owner removed it", one, 1, {}, false, Delivery::Settle},
      {"the same again, removed by the policy", one, 1, {}, true, Delivery::Write},
      {"changed", one, 2, one, false, Delivery::Replace},
      {"changed, and the owner removed it", one, 2, {}, false, Delivery::Write},
      {"changed here and there", one, 2, other, false, Delivery::KeepBoth},
      {"changed here and there alike", one, 2, digest(2), false, Delivery::Adopt},
  };
  for (const auto& line : table) {
    CAPTURE(line.what);
    CHECK(delivery_of(line.base, digest(line.fetched), line.file, line.removed) == line.delivery);
  }
}

TEST_CASE("plan: removals, their grace and their fuse") {
  const auto book = [](std::size_t there, std::size_t missing, std::int64_t since) {
    std::vector<CardRow> rows(there, row(CardState::Delivered, "a", "a"));
    for (std::size_t i = 0; i < missing; ++i) {
      rows.push_back(row(CardState::Vanished, "a", "a"));
      rows.back().missing_since = since;
    }
    return rows;
  };
  Policy policy;
  policy.grace = 100;
  const auto of = [&](const std::vector<CardRow>& rows, bool released = false) {
    return removals_of(rows, policy, released, kNow);
  };
  CHECK(of(book(10, 2, kNow - 100)).rows.empty());  // keep
  policy.on_source_delete = Policy::OnSourceDelete::Remove;
  CHECK(of(book(10, 2, kNow - 100)).rows.size() == 2);
  CHECK(of(book(10, 2, kNow - 99)).rows.empty());
  CHECK(of(book(10, 50, kNow - 100)).rows.size() == 50);
  CHECK(of(book(10, 51, kNow - 100)).rows.empty());
  CHECK(of(book(10, 51, kNow - 100)).hold == "51 of 61 cards have vanished at the source");
  CHECK(of(book(10, 51, kNow - 100), true).rows.size() == 51);
  CHECK(of(book(800, 200, kNow - 100)).rows.size() == 200);
  CHECK(of(book(799, 201, kNow - 100)).rows.empty());
  CHECK(of(book(0, 1, kNow - 100)).hold != "");  // all that there were
  auto removed = book(0, 1, kNow - 100);
  removed[0].removed = true;
  CHECK(of(removed).hold == "");
}

TEST_CASE("plan: names are made of identity alone") {
  const auto name = file_of("carddav:a@https://h", "/b/", "/b/1.vcf");
  CHECK(name == file_of("carddav:a@https://h", "/b/", "/b/1.vcf"));
  CHECK(name != file_of("carddav:x@https://h", "/b/", "/b/1.vcf"));
  CHECK(name != file_of("carddav:a@https://h", "/c/", "/b/1.vcf"));
  CHECK(name.ends_with(".vcf"));
  CHECK(second_file_of(name, digest(0xAB)) == name.substr(0, name.size() - 4) + "-ab000000.vcf");
  CHECK(second_file_of(second_file_of(name, digest(1)), digest(2)) == second_file_of(name, digest(2)));
  CHECK(directory_of("a", "/u/My Böok!/").starts_with("my-b--ok-"));
  CHECK(directory_of("a", "/../").starts_with("book-"));
  CHECK(directory_of("a", "/u/x/") != directory_of("a", "/v/x/"));
}

TEST_CASE("plan: the pause grows to a day") {
  CHECK(pause_after(1) == 60);
  CHECK(pause_after(2) == 120);
  CHECK(pause_after(1000) == 86'400);
}

TEST_CASE("vcard: cards are told apart in any pieces") {
  const std::string one = "BEGIN:VCARD\r\nFN:1\r\nEND:VCARD\r\n";
  const std::string two = "begin:vcard\nAGENT:\nBEGIN:VCARD\nFN:inner\nEND:VCARD\nend:vcard \n";
  const std::string open = "BEGIN:VCARD\nFN:no end\n";
  const std::string text = "\xEF\xBB\xBF" + one + "\nnobody's\n" + two + open;
  for (const std::size_t step : {std::size_t{1}, std::size_t{5}, text.size()}) {
    CAPTURE(step);
    CardSplitter splitter;
    for (std::size_t at = 0; at < text.size(); at += step) splitter.feed(std::string_view(text).substr(at, step));
    const auto found = splitter.finish();
    REQUIRE(found.size() == 3);
    CHECK(text.substr(found[0].begin, found[0].end - found[0].begin) == one);
    CHECK(text.substr(found[1].begin, found[1].end - found[1].begin) == two);
    CHECK(text.substr(found[2].begin, found[2].end - found[2].begin) == open);
  }
}

TEST_CASE("vcard: what two cards have in common") {
  const auto marks = marks_of(
      "BEGIN:VCARD\r\nitem1.EMAIL;TYPE=home:Ann@Exam\r\n ple.test\r\nTEL:+49 (30) 123-4567\r\nTEL:110\r\n"
      "email:mailto:ann@example.test\r\nEND:VCARD\r\n");
  CHECK(marks == std::vector<std::string>{"ann@example.test", "tel:301234567"});
  CHECK(marks_of("TEL:030 123 4567") == std::vector<std::string>{"tel:301234567"});
}
