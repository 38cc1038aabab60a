#include "web/remote.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "protocols/http/http.h"

namespace mailhaul::web {
namespace {

using nlohmann::json;

Error usage(std::string what, std::string advice = "") {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Result<Secret> token(const Remote& remote) {
  auto path = remote.token_file.empty() ? setting("MAILHAUL_TOKEN_FILE") : remote.token_file;
  if (path.empty()) {
    auto given = setting("MAILHAUL_TOKEN");
    if (given.empty())
      return usage("no token was given", "Make one on the dashboard, and name its file: --token-file FILE.");
    return Secret(std::move(given));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return usage("the token file " + path + " cannot be read", "Check its name and its permissions.");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return Secret(std::move(text));
}

std::string text_of(const json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? printable(value.get<std::string>()) : value.dump();
}

std::string time_of(const json& object, const char* member) {
  const auto at = object.value(member, std::int64_t{0});
  if (at == 0) return "-";
  const auto seconds = static_cast<std::time_t>(at);
  std::tm parts{};
  std::array<char, 40> out{};
  localtime_r(&seconds, &parts);
  std::strftime(out.data(), out.size(), "%Y-%m-%d %H:%M", &parts);
  return out.data();
}

struct Column {
  const char* title;
  std::string (*cell)(const json& item);
};

const std::map<std::string, std::vector<Column>>& tables() {
  static const std::map<std::string, std::vector<Column>> all{
      {"accounts",
       {{"id", [](const json& i) { return text_of(i["id"]); }},
        {"name", [](const json& i) { return text_of(i["name"]); }},
        {"source", [](const json& i) { return text_of(i["source"]); }},
        {"jobs", [](const json& i) { return std::to_string(i["jobs"].size()); }}}},
      {"jobs",
       {{"id", [](const json& i) { return text_of(i["id"]); }},
        {"account", [](const json& i) { return text_of(i["account_name"]); }},
        {"state", [](const json& i) { return text_of(i["state"]); }},
        {"delivered", [](const json& i) { return text_of(i["counts"]["delivered"]); }},
        {"failed", [](const json& i) { return text_of(i["counts"]["failed"]); }},
        {"pending", [](const json& i) { return text_of(i["counts"]["pending"]); }},
        {"last success", [](const json& i) { return time_of(i, "last_success"); }},
        {"error", [](const json& i) { return text_of(i.value("error", json())); }}}},
      {"channels",
       {{"id", [](const json& i) { return text_of(i["id"]); }},
        {"name", [](const json& i) { return text_of(i["name"]); }},
        {"kind", [](const json& i) { return text_of(i["kind"]); }},
        {"topics", [](const json& i) { return std::to_string(i["topics"].size()); }},
        {"told", [](const json& i) { return time_of(i, "told"); }},
        {"error", [](const json& i) { return text_of(i.value("error", json())); }}}},
      {"runs",
       {{"id", [](const json& i) { return text_of(i["id"]); }},
        {"job", [](const json& i) { return text_of(i["job"]); }},
        {"kind", [](const json& i) { return text_of(i["kind"]); }},
        {"state", [](const json& i) { return text_of(i["state"]); }},
        {"started", [](const json& i) { return time_of(i, "started"); }},
        {"delivered", [](const json& i) { return text_of(i["delivered"]); }},
        {"failed", [](const json& i) { return text_of(i["failed"]); }},
        {"error", [](const json& i) { return text_of(i.value("error", json())); }}}}};
  return all;
}

std::string table(const std::vector<Column>& columns, const json& items) {
  std::vector<std::vector<std::string>> rows(1);
  for (const auto& column : columns) rows[0].emplace_back(column.title);
  for (const auto& item : items) {
    auto& row = rows.emplace_back();
    for (const auto& column : columns) row.push_back(column.cell(item));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t n = 0; n < row.size(); ++n) {
      std::size_t width = 0;
      for (const auto& other : rows) width = std::max(width, other[n].size());
      line += row[n];
      if (n + 1 < row.size()) line += std::string(width - row[n].size() + 2, ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

struct Action {
  const char* method;
  const char* suffix;
  const char* body;
};
const std::map<std::string, Action>& actions() {
  static const std::map<std::string, Action> all{{"show", {"GET", "", ""}},
                                                 {"delete", {"DELETE", "", ""}},
                                                 {"run", {"POST", "/run", "{}"}},
                                                 {"retry", {"POST", "/run", R"({"retry_failed":true})"}},
                                                 {"cancel", {"POST", "/cancel", ""}},
                                                 {"preview", {"POST", "/preview", ""}},
                                                 {"verify", {"POST", "/verify", "{}"}},
                                                 {"test", {"POST", "/test", ""}},
                                                 {"pause", {"PATCH", "", R"({"paused":true})"}},
                                                 {"resume", {"PATCH", "", R"({"paused":false})"}},
                                                 {"mailboxes", {"GET", "/mailboxes", ""}},
                                                 {"failed", {"GET", "/messages?state=failed", ""}}};
  return all;
}

}  // namespace

Result<std::string> remote_call(const Remote& remote, const std::string& method, const std::string& path,
                                const std::string& body) {
  auto secret = token(remote);
  if (!secret) return secret.error();
  auto server = remote.server.empty() ? setting("MAILHAUL_SERVER") : remote.server;
  if (server.empty()) server = "http://localhost:8025";
  while (server.ends_with('/')) server.pop_back();
  http::Request request;
  request.url = server + "/api/v1" + (path.starts_with('/') ? path : "/" + path);
  request.method = method;
  request.body = body;
  request.content_type = "application/json";
  request.accept = "application/json";
  request.bearer = *std::move(secret);
  http::Options options;
  options.timeout = std::chrono::minutes(5);
  options.max_body = 64U << 20;
  options.ca_file = remote.ca_file;
  options.plain_http = true;
  auto reply = http::fetch(request, options);
  if (!reply) return reply.error();
  if (reply->status < 400) return reply->body;
  const auto problem = json::parse(reply->body, nullptr, false);
  if (!problem.is_object()) return usage("the server answered " + std::to_string(reply->status));
  return usage(printable(problem.value("detail", "the server answered " + std::to_string(reply->status))),
               printable(problem.value("advice", "")));
}

Result<std::string> remote_list(const Remote& remote, const std::string& kind, const std::vector<std::string>& words,
                                bool as_json) {
  const auto pretty = [](const std::string& body) {
    const auto value = json::parse(body, nullptr, false);
    return value.is_discarded() ? body : value.dump(2) + "\n";
  };
  if (!words.empty() && words[0] != "list") {
    const auto action = actions().find(words[0]);
    if (action == actions().end() || words.size() != 2)
      return usage("'" + printable(words[0]) + "' with " + std::to_string(words.size() - 1) + " words is no action",
                   "For example: mailhaul " + kind + " show 7. See mailhaul " + kind + " --help.");
    auto answer = remote_call(remote, action->second.method, "/" + kind + "/" + words[1] + action->second.suffix,
                              action->second.body);
    if (!answer) return answer;
    return answer->empty() ? std::string("done\n") : pretty(*answer);
  }
  json items = json::array();
  for (std::string cursor;;) {
    auto answer = remote_call(remote, "GET", "/" + kind + "?limit=500&cursor=" + cursor, "");
    if (!answer) return answer;
    const auto page = json::parse(*answer, nullptr, false);
    if (!page.is_object() || !page.contains("items")) return usage("this is no mailhaul: " + remote.server);
    for (const auto& item : page["items"]) items.push_back(item);
    cursor = page.value("next", "");
    if (cursor.empty() || kind == "runs") break;
  }
  return as_json ? items.dump(2) + "\n" : table(tables().at(kind), items);
}

}  // namespace mailhaul::web
