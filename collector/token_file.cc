#include "collector/token_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "protocols/base/text.h"

namespace mailhaul::collector {
namespace {

using nlohmann::json;

Error broken(const std::string& path, const std::string& why) {
  return {Scope::Account, Retry::AfterUserAction, "the token file " + printable(path) + ": " + why,
          "Make it with mailhaul authorize ADDRESS."};
}
Error unwritable(const std::string& path) { return broken(path, std::strerror(errno)); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

class FileLock final : public oauth2::TokenStore::Lock {
 public:
  explicit FileLock(int fd) : fd_(fd) {}
  [[nodiscard]] int get() const { return fd_.get(); }

 private:
  Descriptor fd_;  // closing it lets go
};

class TokenFile final : public oauth2::TokenStore {
 public:
  TokenFile(std::string path, TokenDocument document) : path_(std::move(path)), document_(std::move(document)) {}
  Result<std::unique_ptr<Lock>> lock() override {
    // A file of its own: the other one is replaced.
    auto held = std::make_unique<FileLock>(::open((path_ + ".lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (held->get() < 0 || ::flock(held->get(), LOCK_EX) != 0) return unwritable(path_);
    return std::unique_ptr<Lock>(std::move(held));
  }
  Result<oauth2::Tokens> load() override {
    Result<TokenDocument> read = read_token_file(path_);
    if (!read) return read.error();
    document_ = *std::move(read);
    return document_.tokens;
  }
  Done save(const oauth2::Tokens& tokens) override {
    document_.tokens = tokens;
    return write_token_file(path_, document_);
  }

 private:
  std::string path_;
  TokenDocument document_;
};

}  // namespace

std::string default_token_file(const std::string& address) {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::string folder = state != nullptr && *state == '/' ? state : "";
  if (folder.empty() && home != nullptr && *home == '/') folder = std::string(home) + "/.local/state";
  if (folder.empty()) return {};
  std::string name;
  for (const char c : address) name += c == '@' ? std::string(1, c) : http::percent_encoded(std::string_view(&c, 1));
  return folder + "/mailhaul/tokens/" + name + ".json";
}

Result<TokenDocument> read_token_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return broken(path, "it cannot be read");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const json object = json::parse(text, nullptr, false);
  wipe(text);
  if (!object.is_object()) return broken(path, "it is not one");
  const auto field = [&](const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto number = [&](const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
  };
  TokenDocument document{
      field("address"),
      {field("provider"),
       field("authorization"),
       field("token"),
       field("device"),
       field("scope"),
       field("extra"),
       {field("client_id"), Secret(field("client_secret"))},
       {}},
      {Secret(field("access_token")), Secret(field("refresh_token")), number("issued"), number("life")}};
  if (const auto hosts = object.find("hosts"); hosts != object.end() && hosts->is_array())
    for (const auto& host : *hosts)
      if (host.is_string()) document.provider.hosts.push_back(host.get<std::string>());
  if (document.provider.token.empty() || document.tokens.access.empty()) return broken(path, "it is not complete");
  return document;
}

Done write_token_file(const std::string& path, const TokenDocument& document) {
  const json object{{"address", document.address},
                    {"provider", document.provider.name},
                    {"authorization", document.provider.authorization},
                    {"token", document.provider.token},
                    {"device", document.provider.device},
                    {"scope", document.provider.scope},
                    {"extra", document.provider.extra},
                    {"hosts", document.provider.hosts},
                    {"client_id", document.provider.client.id},
                    {"client_secret", document.provider.client.secret.reveal()},
                    {"access_token", document.tokens.access.reveal()},
                    {"refresh_token", document.tokens.refresh.reveal()},
                    {"issued", document.tokens.issued},
                    {"life", document.tokens.life}};
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code failure;
  if (!folder.empty()) std::filesystem::create_directories(folder, failure);
  const std::string fresh = path + ".new";
  std::string text = object.dump(1) + "\n";
  {
    const Descriptor file(::open(fresh.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
    const bool written =
        file.get() >= 0 && ::fchmod(file.get(), 0600) == 0 && write_all(file.get(), text) && ::fsync(file.get()) == 0;
    wipe(text);
    if (!written) return unwritable(path);
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return unwritable(path);
  const Descriptor directory(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) return unwritable(path);
  return done();
}

Result<client::TokenSource> token_source(const std::string& path, const std::string& host, const http::Options& web,
                                         const std::stop_token& stop) {
  Result<TokenDocument> document = read_token_file(path);
  if (!document) return document.error();
  const auto& hosts = document->provider.hosts;
  if (std::none_of(hosts.begin(), hosts.end(), [&](const std::string& own) { return equal_ignoring_case(own, host); }))
    return broken(path, "its tokens are not for " + printable(host));
  struct Kept {
    TokenFile file;
    oauth2::TokenKeeper keeper;
    Kept(const std::string& where, const TokenDocument& what, const http::Options& how)
        : file(where, what), keeper(file, what.provider, how) {}
  };
  auto kept = std::make_shared<Kept>(path, *document, web);
  return client::TokenSource([kept, stop](const Secret& refused) { return kept->keeper.access(refused, stop); });
}

}  // namespace mailhaul::collector
