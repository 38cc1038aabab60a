#include <doctest/doctest.h>

#include "protocols/mail/flags.h"

using namespace mailhaul::mail;

namespace {
FlagSet flags(std::initializer_list<const char*> list) {
  FlagSet s;
  for (const char* flag : list) s.add(flag);
  return s;
}
}  // namespace

TEST_CASE("system flags in any case, keywords without regard to case, the rest stays out") {
  const FlagSet s = flags({"\\SEEN", "\\flagged", "$Junk", "$JUNK", "Work", "\\Recent", "\\*", "\\X-Odd", "", "\\"});
  CHECK(s.wire() == "\\Flagged \\Seen $Junk Work");
  CHECK(s.has(SystemFlag::Seen));
  CHECK(s.has("\\Flagged"));
  CHECK(s.has("$junk"));
  CHECK_FALSE(s.has("\\Recent"));
  CHECK_FALSE(s.has("none"));
  CHECK(s.keywords().size() == 2);
  CHECK(flags({"\\Recent"}).empty());
}

TEST_CASE("the order in which flags come does not matter") {
  CHECK(flags({"b", "A", "\\Seen"}) == flags({"\\seen", "a", "B"}));
  CHECK(flags({"b", "A", "c"}).keywords() == std::vector<std::string>{"A", "b", "c"});
  CHECK_FALSE(flags({"a"}) == flags({"b"}));
  CHECK_FALSE(flags({"a"}) == flags({"a", "\\Seen"}));
  CHECK(FlagSet(255, {"b", "\\Seen", "A", "a", "", "\\Nope"}) ==
        flags({"\\Draft", "\\Flagged", "\\Answered", "\\Seen", "\\Deleted", "A", "b"}));
  CHECK(FlagSet(255, {}).system_bits() == 31);
}

TEST_CASE("algebra") {
  const FlagSet a = flags({"\\Seen", "x", "y"}), b = flags({"\\Flagged", "Y", "z"});
  CHECK(a.united(b) == flags({"\\Seen", "\\Flagged", "x", "y", "z"}));
  CHECK(a.minus(b) == flags({"\\Seen", "x"}));
  CHECK(a.intersected(b) == flags({"y"}));
  FlagSet c = a;
  c.remove("X");
  c.remove("\\seen");
  c.remove("nothing");
  CHECK(c == flags({"y"}));
}

TEST_CASE("Maildir letters, ascending; other letters are ignored") {
  CHECK(flags({"\\Deleted", "\\Seen", "\\Answered", "\\Flagged", "\\Draft", "k"}).maildir_letters() == "DFRST");
  CHECK(FlagSet::from_maildir_letters("TSPab") == flags({"\\Deleted", "\\Seen"}));
  for (unsigned bits = 0; bits < 32; ++bits) {
    const FlagSet s(static_cast<std::uint8_t>(bits), {});
    CHECK(FlagSet::from_maildir_letters(s.maildir_letters()) == s);
  }
}
