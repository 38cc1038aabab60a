// Private to the IMAP destination: a message on its way in.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "collector/imap_destination.h"

namespace mailhaul::collector {

inline constexpr std::size_t kImapChunk = 64 * 1024;

// What does not stay in memory: a file without a name.
class Spool {
 public:
  explicit Spool(const std::string& directory)
      : file_(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {}
  ~Spool() {
    if (file_ >= 0) ::close(file_);
  }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  Done write(std::string_view octets) {
    while (!octets.empty()) {
      const auto n = file_ < 0 ? -1 : ::write(file_, octets.data(), octets.size());
      if (n <= 0)
        return Error{Scope::Service, Retry::AfterUserAction, "a long message cannot be kept for a moment",
                     "Free some space beside the state file."};
      octets.remove_prefix(static_cast<std::size_t>(n));
    }
    return done();
  }
  Result<std::string> read(std::uint64_t from, std::size_t octets) const {
    std::string out(octets, '\0');
    for (std::size_t have = 0; have < octets;) {
      const auto n = ::pread(file_, out.data() + have, octets - have, static_cast<off_t>(from + have));
      if (n <= 0) return Error{Scope::Service, Retry::Later, "a long message could not be read again", ""};
      have += static_cast<std::size_t>(n);
    }
    return out;
  }

 private:
  int file_;
};

// One message on its way. Short ones lie in `text_`; of long ones that go straight through, `text_` is what is held
// back; of others it is empty and the spool has them.
class ImapMessage final : public store::IncomingMessage::Body {
 public:
  ImapMessage(ImapDestination& destination, std::string directory, const store::Announced* announced)
      : destination_(destination), directory_(std::move(directory)) {
    if (announced) announced_ = *announced;
  }
  ~ImapMessage() override {
    // In the middle of a literal: the connection goes, and the server has stored nothing.
    client_.reset();
    if (!said_ || given_away_) return;
    const std::lock_guard lock(destination_.mutex_);
    destination_.passing_.erase(announced_->key);
    (void)destination_.book_->forget(number_, {&announced_->key, 1});
  }
  ImapMessage(const ImapMessage&) = delete;
  ImapMessage& operator=(const ImapMessage&) = delete;

  Done write(std::string_view octets) override {
    sha_.update(octets);
    scanner_.update(octets);
    octets_ += octets.size();
    nul_ = nul_ || octets.find('\0') != std::string_view::npos;
    if (dropped_) return done();
    if (client_) return pass_on(octets);
    if (spool_) return spool_->write(octets);
    text_.append(octets);
    if (text_.size() <= ImapDestination::kLong) return done();
    if (announced_ && !nul_)
      if (auto begun = destination_.begin_long(*this); !begun) return begun;
    if (client_ || dropped_ || destination_.settings_.spool.empty()) return done();
    spool_.emplace(destination_.settings_.spool);
    auto kept = spool_->write(text_);
    text_ = {};
    return kept;
  }
  Result<store::Received> finish(std::optional<std::int64_t>) override {
    store::Received out;
    out.wire_octets = out.disk_octets = out.crlf_octets = octets_;
    out.form = store::StoredForm::AsReceived;
    out.sha256 = sha256_ = sha_.finish();
    out.evidence = evidence_ = scanner_.finish();
    return out;
  }
  [[nodiscard]] std::string refused() const override { return refused_; }
  [[nodiscard]] bool urgent() const override { return client_ != nullptr; }

 private:
  friend class ImapDestination;
  // Holds back the last octets: they complete the message at the server.
  Done pass_on(std::string_view octets) {
    if (nul_) {
      drop("it holds a NUL, which the destination does not take (RFC 9051 §4.3)");
      return done();
    }
    if (text_.size() + octets.size() > kImapChunk) {
      if (auto sent = send(text_); !sent) return sent;
      text_.clear();
      for (; !dropped_ && octets.size() > kImapChunk; octets.remove_prefix(kImapChunk))
        if (auto sent = send(octets.substr(0, kImapChunk)); !sent) return sent;
    }
    text_.append(octets);
    return done();
  }
  Done send(std::string_view octets) {
    if (dropped_) return done();
    auto sent = client_->append_octets(octets);
    if (sent) return sent;
    client_.reset();
    if (sent.error().scope != Scope::Message) return sent.error().in("the destination");
    if (sent.error().what.find("OVERQUOTA") != std::string::npos)
      return Error{Scope::Service, Retry::AfterUserAction, "the destination: " + sent.error().what, "Make room there."};
    drop(sent.error().what);
    return done();
  }
  void drop(std::string why) {
    client_.reset();
    text_ = {};
    refused_ = std::move(why);
    dropped_ = true;
  }

  ImapDestination& destination_;
  std::string directory_;
  std::optional<store::Announced> announced_;
  std::unique_ptr<client::ImapClient> client_;  // in the middle of its literal
  store::CopyBook::MailboxNumber number_ = 0;
  bool said_ = false, given_away_ = false, dropped_ = false;
  std::string text_;
  std::optional<Spool> spool_;
  std::string refused_;
  bool nul_ = false;
  std::uint64_t octets_ = 0;
  mail::Sha256 sha_;
  mail::HeaderScanner scanner_;
  mail::Sha256Digest sha256_{};
  mail::Evidence evidence_;
};

}  // namespace mailhaul::collector
