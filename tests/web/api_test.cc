#include "web/api.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "web/contract.h"

namespace mailhaul::web {
namespace {

TEST_CASE("the routes and the contract name the same operations") {
  const auto contract_json = json::parse(contract());
  std::set<std::string> documented, routed;
  for (const auto& [path, operations] : contract_json["paths"].items())
    for (const auto& [method, operation] : operations.items())
      if (method == "get" || method == "post" || method == "patch" || method == "delete" || method == "put") {
        std::string upper = method;
        for (auto& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        const bool open = operation.contains("security") && operation["security"].empty();
        documented.insert(upper + " " + path + (open ? " open" : ""));
      }
  for (const auto& route : Api::routes())
    routed.insert(std::string(route.method) + " " + route.path + (route.open ? " open" : ""));
  CHECK(routed == documented);
}

TEST_CASE("bodies are read strictly") {
  SUBCASE("members by type") {
    Members m(R"({"a": "text", "b": true, "n": 7, "w": ["x", "y"]})");
    CHECK(m.text("a", 10) == "text");
    CHECK(m.flag("b") == true);
    CHECK(m.number("n") == 7);
    CHECK(m.words("w")->size() == 2);
    CHECK(!m.complaint());
  }
  const auto complaint = [](const std::string& body, auto read) {
    Members m(body);
    read(m);
    const auto told = m.complaint();
    return told ? told->field + ": " + told->what : std::string("none");
  };
  CHECK(complaint("{}", [](Members& m) { m.text("a", 10, true); }) == "a: a is missing");
  CHECK(complaint(R"({"b": 1})", [](Members& m) { m.text("a", 10); }) == "b: there is no member 'b' here");
  CHECK(complaint(R"({"a": 1})", [](Members& m) { m.text("a", 10); }).starts_with("a: a is a text"));
  CHECK(complaint(R"({"a": "12345678901"})", [](Members& m) { m.text("a", 10); }).starts_with("a: a is a text"));
  CHECK(complaint(R"({"a": "x\u0000y"})", [](Members& m) { m.text("a", 10); }).starts_with("a: a is a text"));
  CHECK(complaint(R"({"a": "x\ny"})", [](Members& m) { m.secret("a", 10); }) == "a: a has a line end in it");
  CHECK(complaint(R"({"a": -1})", [](Members& m) { m.number("a"); }).starts_with("a: a is a whole number"));
  CHECK(complaint(R"({"a": 1.5})", [](Members& m) { m.number("a"); }).starts_with("a: a is a whole number"));
  CHECK(complaint("[]", [](Members&) {}) == ": the body is not a JSON object");
  CHECK(complaint("", [](Members&) {}) == ": the body is not a JSON object");
  CHECK(complaint("{\"a\": \"\xff\"}", [](Members& m) { m.text("a", 10); }) == ": the body is not a JSON object");
  CHECK(complaint(std::string(100'000, '['), [](Members&) {}) == ": the body is not a JSON object");
  CHECK(complaint(R"({"a":)" + std::string(60, '[') + std::string(60, ']') + "}", [](Members&) {}) ==
        ": the body is not a JSON object");
}

}  // namespace
}  // namespace mailhaul::web
