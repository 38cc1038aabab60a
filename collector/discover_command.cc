#include "collector/discover_command.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "protocols/base/text.h"
#include "protocols/http/http.h"

namespace mailhaul::collector {
namespace {

using discovery::Findings;
using discovery::Protocol;
using discovery::Security;
using discovery::Settings;
using discovery::Step;
using nlohmann::ordered_json;

const char* word_of(Step::Outcome outcome) {
  switch (outcome) {
    case Step::Outcome::Found:
      return "found";
    case Step::Outcome::Nothing:
      return "nothing";
    case Step::Outcome::Failed:
      break;
  }
  return "failed";
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

ordered_json object_of(const Step& step) {
  return {{"step", step.what}, {"outcome", word_of(step.outcome)}, {"result", step.result}, {"ms", step.took.count()}};
}

ordered_json object_of(const Settings& settings) {
  return {{"protocol", settings.server.protocol == Protocol::Imap ? "imap" : "pop3"},
          {"host", settings.server.host},
          {"port", settings.server.port},
          {"security", settings.server.security == Security::Tls ? "tls" : "starttls"},
          {"user", settings.user},
          {"auth", settings.auth},
          {"source", settings.source},
          {"works", settings.works},
          {"confirm", settings.confirm},
          {"problem", settings.problem},
          {"tls", settings.security},
          {"greeting", settings.greeting},
          {"capabilities", settings.capabilities},
          {"logins", settings.logins}};
}

}  // namespace

std::string step_text(const Step& step) {
  std::string line = printable(step.what, 160);
  line.resize(std::max<std::size_t>(line.size(), 60), ' ');
  return line + " " + word_of(step.outcome) + " (" + std::to_string(step.took.count()) +
         " ms): " + printable(step.result, 300);
}

std::string step_json(const Step& step) {
  return object_of(step).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string findings_text(const Findings& findings) {
  if (!findings.chosen) return "No server was found for " + findings.address + ".\n";
  const Settings& best = findings.settings[*findings.chosen];
  std::string out = "\n" + best.url() + "\n  named by    " + best.source + "\n  connection  " + best.security +
                    "\n  logins      " + joined(best.logins) + "\n";
  if (findings.provider != nullptr) {
    out += "  provider    " + findings.provider->name + " (" + joined(findings.provider->auth) + ")\n";
    if (const std::string help = findings.provider->help(); !help.empty()) out += "  " + help + "\n";
  }
  if (best.confirm)
    out +=
        "  This server belongs to another domain, and only DNS, which can be forged, names it. Use it if you know "
        "it.\n";
  for (std::size_t i = 0; i < findings.settings.size(); ++i)
    if (i != *findings.chosen && findings.settings[i].works) out += "also: " + findings.settings[i].url() + "\n";
  return out;
}

std::string findings_json(const Findings& findings) {
  ordered_json out{{"address", findings.address}, {"found", findings.chosen.has_value()}};
  out["source"] = findings.chosen ? ordered_json(findings.settings[*findings.chosen].url()) : ordered_json(nullptr);
  out["chosen"] = findings.chosen ? object_of(findings.settings[*findings.chosen]) : ordered_json(nullptr);
  out["settings"] = ordered_json::array();
  for (const Settings& settings : findings.settings) out["settings"].push_back(object_of(settings));
  if (const auto* provider = findings.provider)
    out["provider"] = {{"id", provider->id},        {"name", provider->name}, {"auth", provider->auth},
                       {"help", provider->help()},  {"link", provider->link}, {"limits", provider->limits},
                       {"quirks", provider->quirks}};
  out["steps"] = ordered_json::array();
  for (const Step& step : findings.steps) out["steps"].push_back(object_of(step));
  return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

Result<Findings> discover(const DiscoverRequest& request, const std::function<void(const Step&)>& progress,
                          const std::stop_token& stop) {
  discovery::Options options;
  options.connect.ca_file = request.ca_file;
  options.connect.proxy = request.proxy;
  options.connect.gate = request.gate;
  options.resolver = request.resolver;
  options.connect_to = request.connect_to;
  options.stop = stop;
  return discovery::discover(request.address, options, progress);
}

Result<std::string> source_of(const Findings& findings) {
  if (!findings.chosen && !findings.settings.empty())
    return Error{
        Scope::Account, Retry::Later,
        "no server of " + printable(findings.address) + " can be used now: " + findings.settings.front().problem,
        "mailhaul discover says what was tried."};
  if (!findings.chosen)
    return Error{Scope::Account, Retry::AfterUserAction, "no server was found for " + printable(findings.address),
                 "Name it: imaps://user@host. mailhaul discover says what was tried."};
  const Settings& best = findings.settings[*findings.chosen];
  if (best.confirm)
    return Error{Scope::Account, Retry::AfterUserAction,
                 "only DNS, which can be forged, says that the mail of " + printable(findings.address) + " is at " +
                     best.server.host,
                 "If that is right, say so: " + best.url()};
  // A user name goes into the URL as it is but for what means something there.
  std::string user;
  for (const char c : best.user) {
    if (std::string_view("%:/").find(c) != std::string_view::npos)
      user += http::percent_encoded(std::string_view(&c, 1));
    else
      user += c;
  }
  Settings escaped = best;
  escaped.user = user;
  return escaped.url();
}

int run_discover(const DiscoverRequest& request, bool json, const std::stop_token& stop) {
  const auto findings = discover(
      request,
      [json](const Step& step) {
        std::fputs((json ? step_json(step) + "\n" : step_text(step) + "\n").c_str(), stdout);
        std::fflush(stdout);
      },
      stop);
  if (!findings) {
    std::fprintf(stderr, "mailhaul: %s%s%s\n", findings.error().what.c_str(),
                 findings.error().advice.empty() ? "" : "; ", findings.error().advice.c_str());
    return findings.error().retry == Retry::AfterUserAction ? 2 : 3;
  }
  std::fputs((json ? findings_json(*findings) + "\n" : findings_text(*findings)).c_str(), stdout);
  return findings->chosen ? 0 : 1;
}

}  // namespace mailhaul::collector
