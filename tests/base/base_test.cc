#include <doctest/doctest.h>

#include <cstring>
#include <new>
#include <type_traits>

#include "protocols/base/result.h"
#include "protocols/base/types.h"

using namespace mailhaul;

TEST_CASE("a result is a value or an error, and the error's text grows outward") {
  const Result<int> good = 7;
  REQUIRE(static_cast<bool>(good));
  CHECK(*good == 7);
  const Result<int> bad = Error{Scope::Message, Retry::Later, "NO [OVERQUOTA]", "Make room."};
  REQUIRE_FALSE(static_cast<bool>(bad));
  const Error outer = bad.error().in("append").in("deliver 4711 to INBOX");
  CHECK(outer.what == "deliver 4711 to INBOX: append: NO [OVERQUOTA]");
  CHECK(outer.advice == "Make room.");
  CHECK(outer.scope == Scope::Message);
  CHECK(outer.retry == Retry::Later);
  CHECK(static_cast<bool>(done()));
  // A value of the same type as the error's text is no error.
  CHECK(static_cast<bool>(Result<std::string>(std::string("text"))));
}

TEST_CASE("values of two tags do not mix") {
  using A = Strong<struct TagA, int>;
  using B = Strong<struct TagB, int>;
  static_assert(!std::is_convertible_v<A, B> && !std::is_constructible_v<B, A>);
  CHECK(A{1} < A{2});
  CHECK(A{3} == A{3});
}

namespace {

// Runs `use` on a Secret that lies in memory of ours, destroys it, and tells whether the octets are still there.
template <class F>
bool leaves_behind(const std::string& text, F&& use) {
  alignas(Secret) unsigned char memory[sizeof(Secret)];
  auto* secret = new (memory) Secret(text);
  use(*secret);
  secret->~Secret();
  // The small-string buffer is part of the object; a longer text was in memory that is not ours to look at any more.
  return std::string_view(reinterpret_cast<const char*>(memory), sizeof memory).find(text) != std::string_view::npos;
}

template <class T>
concept Printable = requires(std::string& s, const T& t) {
  s += t;
}
|| requires(const T& t) { std::string(t); };

}  // namespace

TEST_CASE("a secret is wiped wherever it was") {
  const std::string text = "pa55word";  // short enough for the small-string buffer
  CHECK_FALSE(leaves_behind(text, [](Secret&) {}));
  CHECK_FALSE(leaves_behind(text, [&](Secret& s) {
    const Secret moved(std::move(s));
    CHECK(moved.reveal() == text);
    CHECK(s.empty());  // NOLINT(bugprone-use-after-move): what it leaves behind is the point
    CHECK(std::string_view(reinterpret_cast<const char*>(&s), sizeof s).find(text) == std::string_view::npos);
  }));
  CHECK_FALSE(leaves_behind(text, [&](Secret& s) {
    Secret target(std::string("other"));
    target = std::move(s);
    CHECK(target.reveal() == text);
    const char* const left = reinterpret_cast<const char*>(&s);  // NOLINT(bugprone-use-after-move)
    CHECK(std::string_view(left, sizeof s).find(text) == std::string_view::npos);
    s = Secret(std::string("again"));
    s = target;
    const Secret& itself = target;
    target = itself;
    CHECK(s.reveal() == text);
  }));
}

TEST_CASE("wipe() reaches the spare capacity of a long text too") {
  std::string text(100, 'x');
  text.resize(3);
  const char* const memory = text.data();
  const std::size_t capacity = text.capacity();
  wipe(text);
  CHECK(text.empty());
  REQUIRE(text.data() == memory);
  text.resize(capacity, '\0');  // writes nothing but NULs, so look at what is behind a shorter one
  CHECK(text.find('x') == std::string::npos);
}

TEST_CASE("append_wiping keeps what there is") {
  std::string text;
  for (int i = 0; i < 1000; ++i) append_wiping(text, "ab");
  CHECK(text.size() == 2000);
  CHECK(text.find("ba") == 1);
  CHECK(text.find("aa") == std::string::npos);
}

TEST_CASE("a secret cannot be printed or compared by accident") {
  static_assert(!Printable<Secret>);
  static_assert(!std::is_convertible_v<Secret, std::string>);
  static_assert(!std::is_convertible_v<std::string, Secret>);
  CHECK(Secret().empty());
}

TEST_CASE("printable makes one harmless line of anything") {
  CHECK(printable("plain") == "plain");
  CHECK(printable("a\r\nb\t\x1b[31m") == "a\\x0d\\x0ab\\x09\\x1b[31m");
  CHECK(printable("\xc3\xbc \xe2\x82\xac \xf0\x9f\x93\xac") == "\xc3\xbc \xe2\x82\xac \xf0\x9f\x93\xac");
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
  CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");                             // a C1 control: terminals obey it
  CHECK(printable("\xc0\xaf\xed\xa0\x80") == "\\xc0\\xaf\\xed\\xa0\\x80");  // overlong; a surrogate
  CHECK(printable(std::string_view("\0", 1)) == "\\x00");
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdefg", 6) == "abc…");
  CHECK(printable("ab\xff\xff", 8) == "ab…");
  CHECK(printable("abc", 0).empty());
  for (std::size_t limit = 0; limit < 40; ++limit) {
    const std::string text = printable("\xc3\xbc\xff \xe2\x82\xac abcdef \x01\x02\x03\xf0\x9f\x93\xac xyz", limit);
    CHECK(text.size() <= limit);
    CHECK(is_utf8(text));
  }
}

TEST_CASE("UTF-8") {
  CHECK(utf8_length("") == 0);
  CHECK(utf8_length("a") == 1);
  CHECK(utf8_length("\xc2\x80") == 2);
  CHECK(utf8_length("\xc1\xbf") == 0);
  CHECK(utf8_length("\xe0\x9f\xbf") == 0);
  CHECK(utf8_length("\xed\xa0\x80") == 0);
  CHECK(utf8_length("\xf4\x8f\xbf\xbf") == 4);
  CHECK(utf8_length("\xf4\x90\x80\x80") == 0);
  CHECK(utf8_length("\xf5\x80\x80\x80") == 0);
  CHECK(utf8_length("\xe2\x82") == 0);
  CHECK(utf8_length("\x80") == 0);
  CHECK(is_utf8("a\xc3\xbc"));
  CHECK_FALSE(is_utf8("a\xc3"));
}

TEST_CASE("ASCII case, whatever the locale") {
  CHECK(equal_ignoring_case("InBoX", "inbox"));
  CHECK_FALSE(equal_ignoring_case("inbox", "inbo"));
  CHECK_FALSE(equal_ignoring_case("\xc3\x9c", "\xc3\xbc"));
  CHECK(less_ignoring_case("A", "b"));
  CHECK(less_ignoring_case("a", "B"));
  CHECK_FALSE(less_ignoring_case("a", "A"));
  CHECK(less_ignoring_case("z", "\xc3"));  // octets count without a sign
  CHECK(to_lower("A[\xc3\x9c") == "a[\xc3\x9c");
  CHECK(to_upper("a{\xc3\xbc") == "A{\xc3\xbc");
}

TEST_CASE("base64") {  // RFC 4648 §10
  CHECK(base64("").empty());
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
}

TEST_CASE("the system clock goes") {
  const auto before = system_clock().steady();
  CHECK(system_clock().steady() >= before);
  CHECK(system_clock().unix_seconds() > 1'700'000'000);
}
