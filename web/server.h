// HTTP: the front's whole requests through cpp-httplib to the API, the dashboard and the probes.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collector/service/service.h"
#include "protocols/base/result.h"
#include "web/front.h"

namespace mailhaul::web {

struct ServerSettings {
  FrontSettings front;
  std::string base_path;                     // "" or "/mailhaul": where a proxy shows us
  std::vector<std::string> hosts;            // names by which we may be called, beside addresses and localhost
  std::vector<std::string> trusted_proxies;  // numeric addresses whose X-Forwarded-For and -Proto count
};

class Server {
 public:
  // Listens at once; answers from serve() on.
  static Result<std::unique_ptr<Server>> open(service::Service& service, const ServerSettings& settings);
  ~Server();
  void serve();  // until stop()
  void stop();   // from any thread
  [[nodiscard]] std::uint16_t port() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::web
