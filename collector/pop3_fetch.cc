// Messages and headers of a maildrop, pipelined where the server allows it.
#include <algorithm>
#include <deque>

#include "collector/pop3_source.h"
#include "protocols/base/text.h"

namespace mailhaul::collector {

using sync::FetchQueue;

// RETR after RETR. A message counts as whole only when the next answer begins as an answer does: a line of its own that
// was a lone dot, or an end glued to its text, would have cut it short or made one of two. After the last one NOOP
// shows.
class Pop3Fetching final : public client::Pop3Dialogue {
 public:
  Pop3Fetching(Pop3Source& source, FetchQueue& queue, sync::Receiver& receiver)
      : source_(source), queue_(queue), receiver_(receiver) {}

  std::optional<pop3::Command> next() override;
  Done answered(const pop3::Command& command, const pop3::Status& status) override;
  Done octets(const pop3::Command&, std::string_view octets) override {
    received_ += octets.size();
    if (source_.habits_->status_flags) header_.add(octets);
    return receiver_.octets(octets);
  }
  Done finished(const pop3::Command&) override;
  // Slices that nothing of could be asked for end here.
  Done end();

 private:
  struct Slice {
    sync::FetchSlice what;
    std::size_t due = 0;  // answers
    std::string refused;
  };
  struct Asked {
    mail::Uid uid;
    std::uint64_t octets = 0;
    std::optional<mail::FlagSet> flags{};
  };
  bool take_slice();
  Done confirm();
  Done settle();
  [[nodiscard]] bool believable() const;

  Pop3Source& source_;
  FetchQueue& queue_;
  sync::Receiver& receiver_;
  std::deque<Asked> to_ask_, in_flight_;
  std::deque<Slice> slices_;
  std::optional<Asked> unconfirmed_;
  std::uint64_t received_ = 0;
  HeaderText header_;       // of the message that comes, where its flags are wanted
  bool probe_due_ = false;  // NOOP behind the last RETR
  bool over_ = false;
};

bool Pop3Fetching::take_slice() {
  auto slice = queue_.next(std::nullopt);
  if (!slice) return false;
  Slice taken{*std::move(slice), 0, {}};
  // POP3 has no other form of asking, and what another validity calls a UID is another message.
  const bool mine = taken.what.validity == source_.validity_ && queue_.form() == sync::Form::Whole;
  if (mine)
    taken.what.uids.each([&](mail::Uid uid) {
      const auto* message = source_.find(uid);
      if (message == nullptr) return;
      to_ask_.push_back({uid, message->octets});
      ++taken.due;
    });
  slices_.push_back(std::move(taken));
  return true;
}

std::optional<pop3::Command> Pop3Fetching::next() {
  while (to_ask_.empty() && !over_) over_ = !take_slice();
  // The first message of a server comes alone: whether LIST tells its size shows what to expect of the others.
  if (!source_.habits_->exact_sizes && !in_flight_.empty()) return std::nullopt;
  if (to_ask_.empty()) {
    if (!std::exchange(probe_due_, false)) return std::nullopt;
    return pop3::Noop{};
  }
  const auto asked = to_ask_.front();
  to_ask_.pop_front();
  in_flight_.push_back(asked);
  probe_due_ = true;
  source_.touched_ = true;
  const auto number = source_.find(asked.uid)->number;
  source_.read_.insert(number);
  return pop3::Retr{number};
}

Done Pop3Fetching::settle() {
  while (!slices_.empty() && slices_.front().due == 0) {
    const auto slice = std::move(slices_.front());
    slices_.pop_front();
    if (slice.what.validity != source_.validity_) {
      if (auto r = receiver_.lost(slice.what, {Scope::Mailbox, Retry::Later, "its messages have other names now", ""});
          !r)
        return r;
    } else if (auto r = receiver_.answered(slice.what, slice.refused); !r) {
      return r;
    }
  }
  return done();
}

Done Pop3Fetching::confirm() {
  if (!unconfirmed_) return done();
  const auto asked = *std::exchange(unconfirmed_, std::nullopt);
  if (auto r = receiver_.end(); !r) return r;
  sync::FetchedMessage message;
  message.uid = asked.uid;
  message.flags = asked.flags;
  message.body = true;
  const auto mailbox = slices_.front().what.mailbox;
  --slices_.front().due;
  if (auto r = receiver_.message(mailbox, message); !r) return r;
  return settle();
}

Done Pop3Fetching::answered(const pop3::Command& command, const pop3::Status& status) {
  if (auto r = confirm(); !r) return r;
  if (!pop3::is<pop3::Retr>(command)) return done();
  if (auto r = settle(); !r) return r;  // slices of which nothing is here, before this one
  if (status.ok) {
    received_ = 0;
    return receiver_.begin(slices_.front().what.mailbox, in_flight_.front().uid, in_flight_.front().octets);
  }
  // Nothing was read, so that the server has no reason to take it for collected.
  source_.read_.erase(std::get<pop3::Retr>(command).number);
  in_flight_.pop_front();
  slices_.front().refused = status.line();
  --slices_.front().due;
  return settle();
}

namespace {

// LIST need not count the line end that a message lacks and POP3 has to give it.
bool exact(std::uint64_t received, std::uint64_t listed) { return received == listed || received == listed + 2; }

}  // namespace

// Two messages that ran into each other are longer than LIST says, by the second one's first line at least.
bool Pop3Fetching::believable() const {
  const auto listed = in_flight_.front().octets;
  if (!source_.client_->session().pipelines() || in_flight_.size() < 2 || exact(received_, listed)) return true;
  return source_.habits_->exact_sizes == false && received_ <= listed + listed / 4 + 1024;
}

Done Pop3Fetching::finished(const pop3::Command&) {
  if (!believable()) {
    source_.habits_->lockstep = true;
    return Error{Scope::Account, Retry::Now,
                 "a message of " + std::to_string(received_) + " octets came where the list says " +
                     std::to_string(in_flight_.front().octets) + "; asking one by one",
                 ""};
  }
  auto& sizes = source_.habits_->exact_sizes;
  sizes = sizes.value_or(true) && exact(received_, in_flight_.front().octets);
  unconfirmed_ = in_flight_.front();
  if (source_.habits_->status_flags) unconfirmed_->flags = flags_of_status(header_.text());
  header_.reset();
  in_flight_.pop_front();
  return done();
}

Done Pop3Fetching::end() { return settle(); }

Done Pop3Source::fetch(FetchQueue& queue, sync::Receiver& receiver) {
  if (auto r = look_up(); !r) return r;
  if (refused_) return *refused_;
  Pop3Fetching fetching(*this, queue, receiver);
  auto ended = client_->converse(fetching);
  if (!ended && client_->session().out_of_step()) habits_->lockstep = true;
  return ended ? fetching.end() : ended;
}

namespace {

class HeaderDialogue final : public client::Pop3Dialogue {
 public:
  // `whole`: the digest is of all octets, for servers where headers can only be had with the rest.
  HeaderDialogue(std::vector<DropMessage>& drop, std::vector<std::size_t> which, bool top, bool whole)
      : drop_(drop), which_(std::move(which)), top_(top), whole_(whole) {}

  std::optional<pop3::Command> next() override {
    if (at_ == which_.size() || (at_ > 0 && answers_ == 0)) return std::nullopt;  // the first one alone: is TOP there?
    const auto n = drop_[which_[at_++]].number;
    return top_ ? pop3::Command(pop3::Top{n, 0}) : pop3::Command(pop3::Retr{n});
  }
  Done answered(const pop3::Command&, const pop3::Status& status) override {
    const auto index = which_[answers_++];
    if (status.ok) {
      current_ = index;
      return done();
    }
    refused.push_back(index);
    words = status.line();
    return done();
  }
  Done octets(const pop3::Command&, std::string_view octets) override {
    text_.add(octets);
    hash_.update(octets);
    return done();
  }
  Done finished(const pop3::Command&) override {
    drop_[current_].header = text_.finish();
    if (whole_) drop_[current_].header->digest = mail::hex(hash_.finish()).substr(0, 32);
    hash_.reset();
    return done();
  }

  std::vector<std::size_t> refused;
  std::string words;

 private:
  std::vector<DropMessage>& drop_;
  std::vector<std::size_t> which_;
  bool top_, whole_;
  std::size_t at_ = 0, answers_ = 0, current_ = 0;
  HeaderText text_;
  mail::Sha256 hash_;
};

}  // namespace

Done Pop3Source::read_by(bool top, std::vector<std::size_t>& which) {
  HeaderDialogue dialogue(drop_, which, top, !top && habits_->no_top);
  touched_ = true;
  if (!top)
    for (const auto index : which) read_.insert(drop_[index].number);
  if (auto r = client_->converse(dialogue); !r) return r;
  which = std::move(dialogue.refused);
  return done();
}

// What an earlier session has brought without coming to its QUIT is shown for ever, and where the list is full, others
// are not: it is read once more, for the server's sake only.
Done Pop3Source::drain(const sync::UidSet& have) {
  constexpr std::size_t kFull = 200;
  if (!habits_->gmail || habits_->recent || drop_.size() < kFull) return done();
  std::vector<std::size_t> which;
  for (std::size_t i = 0; i < drop_.size(); ++i)
    if (have.contains(drop_[i].uid) && !read_.contains(drop_[i].number)) which.push_back(i);
  if (which.empty()) return done();
  habits_->drained = true;
  return read_by(false, which);
}

namespace {

class MarkDialogue final : public client::Pop3Dialogue {
 public:
  explicit MarkDialogue(std::vector<pop3::MessageNumber> numbers) : numbers_(std::move(numbers)) {}
  std::optional<pop3::Command> next() override {
    if (at_ == numbers_.size()) return std::nullopt;
    return pop3::Dele{numbers_[at_++]};
  }
  Done answered(const pop3::Command& command, const pop3::Status& status) override {
    if (status.ok) marked.insert(std::get<pop3::Dele>(command).number);
    return done();
  }
  std::set<pop3::MessageNumber> marked;

 private:
  std::vector<pop3::MessageNumber> numbers_;
  std::size_t at_ = 0;
};

}  // namespace

Result<sync::UidSet> Pop3Source::mark(const sync::UidSet& uids) {
  std::vector<pop3::MessageNumber> numbers;
  for (const auto& [uid, index] : by_uid_)
    if (uids.contains(uid)) numbers.push_back(drop_[index].number);
  MarkDialogue dialogue(std::move(numbers));
  touched_ = true;
  if (auto r = client_->converse(dialogue); !r) return r.error();
  sync::UidSet out;
  for (const auto& [uid, index] : by_uid_)
    if (dialogue.marked.contains(drop_[index].number)) out.add(uid);
  return out;
}

Done Pop3Source::read_headers(std::vector<std::size_t> which) {
  std::erase_if(which, [&](std::size_t index) { return drop_[index].header.has_value(); });
  if (which.empty()) return done();
  if (!habits_->no_top) {
    const auto asked = which.size();
    if (auto r = read_by(true, which); !r) return r;
    if (which.empty()) return done();
    if (which.size() == asked) habits_->no_top = true;
  }
  if (auto r = read_by(false, which); !r) return r;
  if (which.empty()) return done();
  return Error{Scope::Account, Retry::Later, "the server gives neither header nor text of a message", ""};
}

Result<std::vector<sync::Headers>> Pop3Source::headers(const FetchQueue::Mailbox& mailbox) {
  if (auto r = look_up(); !r) return r.error();
  std::vector<sync::Headers> out;
  if (refused_ || mailbox.validity != validity_) return out;
  std::vector<std::size_t> which;
  for (const auto& [uid, index] : by_uid_)
    if (mailbox.uids.contains(uid)) which.push_back(index);
  if (auto r = read_headers(which); !r) return r.error();
  for (const auto index : which) {
    const auto& message = drop_[index];
    if (message.header) out.push_back({message.uid, message.header->evidence, message.octets, {}, {}});
  }
  return out;
}

}  // namespace mailhaul::collector
