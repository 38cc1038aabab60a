#include "tests/support/pop3_model.h"

#include <algorithm>

namespace mailhaul::test {
namespace {

Error lost() { return {Scope::Account, Retry::Now, "connection lost: reset", ""}; }

std::string stuffed(const PopMessage& message) {
  std::string out;
  bool start = true;
  for (const char c : message.wire) {
    if (start && c == '.' && !message.raw) out += '.';
    out += c;
    start = c == '\n' && out.size() >= 2 && out[out.size() - 2] == '\r';
  }
  if (out.ends_with("\r\n")) out.resize(out.size() - 2);
  return message.wire.empty() ? ".\r\n" : out + message.end;
}

}  // namespace

class Pop3ModelConnection final : public net::Transport {
 public:
  explicit Pop3ModelConnection(Pop3Model& model) : model_(model) { say(model_.greeting); }

  Result<net::Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds) override {
    net::Moved moved;
    moved.sent = out.size();
    input_ += out;
    std::size_t commands = 0;
    for (std::size_t end = 0; (end = input_.find("\r\n")) != std::string::npos && !gone_; ++commands) {
      const auto line = input_.substr(0, end);
      input_.erase(0, end + 2);
      model_.lines.push_back(line.starts_with("PASS") ? "PASS" : line);
      if (model_.on_command)
        if (auto r = model_.on_command(line); !r) return r.error();
      obey(line);
    }
    model_.most_at_once = std::max(model_.most_at_once, commands);
    if (waiting_.empty()) {
      if (gone_) return lost();
      if (moved.sent > 0) return moved;
      return Error{Scope::Account, Retry::Now, "time-out", ""};
    }
    auto n = std::min({waiting_.size(), in.size(), model_.chunk});
    const bool cut = given_ + n > model_.cut_after;
    if (cut) n = static_cast<std::size_t>(model_.cut_after - given_);
    if (cut && n == 0) {
      model_.cut_after = UINT64_MAX;
      return lost();
    }
    std::copy_n(waiting_.begin(), n, in.begin());
    waiting_.erase(0, n);
    given_ += n;
    model_.octets_given += n;
    moved.received = n;
    return moved;
  }
  [[nodiscard]] std::string security() const override { return "memory"; }

 private:
  struct Shown {
    std::list<PopMessage>::iterator message;
    std::string uidl;
    std::string wire;
    int id = 0;
    bool deleted = false, read = false;
  };

  void say(const std::string& line) { waiting_ += line + "\r\n"; }
  void enter() {
    for (auto it = model_.messages.begin(); it != model_.messages.end() && shown_.size() < model_.window; ++it)
      shown_.push_back({it, it->uidl, it->wire, it->id});
    if (model_.shuffled) std::shuffle(shown_.begin(), shown_.end(), model_.luck_);
    if (model_.new_names)
      for (auto& one : shown_) one.uidl = "s" + std::to_string(model_.luck_());
  }
  Shown* named(const std::string& line) {
    const auto n = std::strtoul(line.c_str() + line.find(' ') + 1, nullptr, 10);
    return n == 0 || n > shown_.size() || shown_[n - 1].deleted ? nullptr : &shown_[n - 1];
  }
  static std::uint64_t size_of(const Shown& one) { return one.message->listed.value_or(one.wire.size()); }
  void list(const std::function<std::string(const Shown&)>& what) {
    say("+OK");
    for (std::size_t i = 0; i < shown_.size(); ++i)
      if (!shown_[i].deleted) say(std::to_string(i + 1) + " " + what(shown_[i]));
    say(".");
  }
  void capa() {
    if (!model_.capa) return say("-ERR unknown command");
    say("+OK");
    for (const auto& one : model_.capabilities) say(one);
    say(".");
  }
  void retrieve(const std::string& line) {
    auto* one = named(line);
    if (one == nullptr) return say("-ERR no such message");
    if (one->message->refusals > 0) {
      --one->message->refusals;
      return say("-ERR [SYS/TEMP] cannot open it");
    }
    one->read = true;
    say("+OK " + std::to_string(size_of(*one)) + " octets");
    waiting_ += stuffed(*one->message);
  }
  void top(const std::string& line) {
    auto* one = named(line);
    if (!model_.top) return say("-ERR unknown command");
    if (one == nullptr) return say("-ERR no such message");
    say("+OK");
    if (model_.double_ok) say("+OK 2 lines");
    const auto end = one->wire.find("\r\n\r\n");
    waiting_ += one->wire.substr(0, end == std::string::npos ? end : end + 4) + ".\r\n";
  }
  void quit() {
    if (model_.lost_at_quit) {
      model_.lost_at_quit = false;
      gone_ = true;
      return;
    }
    if (!model_.quit_refused.empty()) return say(std::exchange(model_.quit_refused, ""));
    for (auto& one : shown_)
      if (one.deleted || (one.read && model_.pops)) model_.messages.erase(one.message);
    shown_.clear();
    say("+OK bye");
  }
  void obey(const std::string& line) {
    if (line == "CAPA") return capa();
    if (line.starts_with("USER ")) return say("+OK");
    if (line.starts_with("PASS ")) {
      if (model_.locks > 0) {
        --model_.locks;
        return say(model_.locked);
      }
      enter();
      return say("+OK");
    }
    if (line == "STAT") {
      std::uint64_t sum = 0;
      for (const auto& one : shown_) sum += size_of(one);
      return say("+OK " + std::to_string(shown_.size()) + " " + std::to_string(sum));
    }
    if (line == "LIST") return list([](const Shown& one) { return std::to_string(size_of(one)); });
    if (line == "UIDL")
      return model_.uidl ? list([](const Shown& one) { return one.uidl; }) : say("-ERR unknown command");
    if (line.starts_with("RETR ")) return retrieve(line);
    if (line.starts_with("TOP ")) return top(line);
    if (line.starts_with("DELE ")) {
      auto* one = named(line);
      if (one != nullptr) one->deleted = true;
      return say(one != nullptr ? "+OK" : "-ERR no such message");
    }
    if (line == "NOOP") return say("+OK");
    if (line == "QUIT") return quit();
    say("-ERR unknown command");
  }

  Pop3Model& model_;
  std::string input_, waiting_;
  std::vector<Shown> shown_;
  std::uint64_t given_ = 0;
  bool gone_ = false;
};

PopMessage& Pop3Model::deliver(const std::string& text) {
  const auto id = std::to_string(++next_);
  auto& message = messages.emplace_back();
  message.id = next_;
  message.uidl = "u" + id;
  message.wire = "Received: from a by b; Tue, 14 Nov 2023 22:13:" + std::to_string(10 + next_ % 50) +
                 " +0000\r\nMessage-ID: <" + id + "@example.org>\r\nSubject: " + id + "\r\n\r\n" + text;
  return message;
}

std::unique_ptr<net::Transport> Pop3Model::transport() { return std::make_unique<Pop3ModelConnection>(*this); }

Result<std::unique_ptr<client::Pop3Client>> Pop3Model::connect(client::ClientOptions options) {
  const client::Account account{{"pop.example.org", 995}, client::Security::Tls, "me", Secret("secret")};
  if (options.pipeline < 2) options.pipeline = 16;
  return client::Pop3Client::over(transport(), account, options);
}

std::size_t Pop3Model::count(std::string_view beginning) const {
  return static_cast<std::size_t>(
      std::count_if(lines.begin(), lines.end(), [&](const std::string& line) { return line.starts_with(beginning); }));
}

}  // namespace mailhaul::test
