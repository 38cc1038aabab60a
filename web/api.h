// The REST API (openapi.yaml is its contract): routes, who may call them, and what they do. Knows requests as values;
// no socket, no library of HTTP. Thread-safe.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/service/service.h"
#include "web/json.h"

namespace mailhaul::web {

struct Call {
  std::string method, path;  // the path below the base path, decoded: "/api/v1/jobs/7"
  std::map<std::string, std::string> query;
  std::function<std::string(const char* field)> header;  // "": absent
  std::string body;
  std::string remote;               // who asks: behind a trusted proxy, the proxy's client
  bool secure = false;              // the browser's connection is TLS, or does not leave its machine
  service::Viewer viewer{};         // filled in when somebody is known
  std::vector<std::int64_t> ids{};  // of the path
};

struct Reply {
  int status = 200;
  json body;         // null: none
  std::string text;  // instead, with `type`
  std::string type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers{};
  std::function<std::optional<std::string>()> stream{};  // events, as they happen; nullopt: the end
};

struct ApiSettings {
  std::string base_path;  // "" or "/mailhaul"
};

struct Route {
  const char* method;
  const char* path;        // "/jobs/{id}/run", below /api/v1
  service::Scopes scopes;  // all of them are needed; 0: whoever is known
  bool open;               // for everybody
  Reply (*handle)(service::Service& service, const Call& call);
};

class Api {
 public:
  Api(service::Service& service, ApiSettings settings) : service_(service), settings_(std::move(settings)) {}
  Reply handle(Call& call);
  static std::span<const Route> routes();

 private:
  std::optional<Reply> identify(Call& call, const Route& route);
  Reply once(const Call& call, const Route& route);
  service::Service& service_;
  const ApiSettings settings_;
  std::mutex mutex_;
  std::set<std::string> being_answered_;  // requests with an Idempotency-Key
};

Reply problem(const service::Refusal& refusal, int status = 0);  // 0: by its kind
Reply problem(int status, std::string title, std::string detail, std::string advice = "");
std::string metrics(const service::SystemView& view, std::size_t connections);  // Prometheus text format
std::string cookie_name(bool secure);

}  // namespace mailhaul::web
