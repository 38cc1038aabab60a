#include "store/maildir_incoming.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "protocols/base/text.h"

namespace mailhaul::store {
namespace {

constexpr std::string_view kSuffix = ".mailhaul";
constexpr std::size_t kToken = 16;  // hex digits
constexpr std::size_t kIdleBenches = 4;
constexpr std::size_t kConverted = Workbench::kBuffer - 1;  // CrlfToLf may write one octet more than it reads

std::string random_token() {
  std::array<char, kToken / 2> octets{};
  // The token keeps two processes apart that could not see each other's lock; the names are created with O_EXCL anyway.
  if (::getrandom(octets.data(), octets.size(), 0) != static_cast<ssize_t>(octets.size())) {
    auto ticks = std::chrono::system_clock::now().time_since_epoch().count();
    for (auto& octet : octets) octet = static_cast<char>(ticks >>= 7);
  }
  return mail::hex(std::string_view(octets.data(), octets.size()));
}

}  // namespace

Staging::Staging(FileSystem& file_system, Folders& of, unsigned sync_threads)
    : fs(file_system), folders(of), syncer(file_system, sync_threads), token_(random_token()) {}

void Staging::name_of(std::uint64_t serial, std::string& out) const {
  std::array<char, 24> digits;  // NOLINT: to_chars says how much of it is filled
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), serial).ptr;
  out.assign(token_);
  out += '.';
  out.append(digits.data(), end);
  out += kSuffix;
}

std::string Staging::name_of(std::uint64_t serial) const {
  std::string name;
  name_of(serial, name);
  return name;
}

bool Staging::is_ours(std::string_view name) {
  const auto is_hex = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); };
  if (name.size() <= kToken + 1 + kSuffix.size() || !name.ends_with(kSuffix) || name[kToken] != '.') return false;
  if (!std::all_of(name.begin(), name.begin() + kToken, is_hex)) return false;
  name.remove_prefix(kToken + 1);
  name.remove_suffix(kSuffix.size());
  return std::all_of(name.begin(), name.end(), is_digit);
}

Result<HandlePtr> Staging::create(Handle& tmp, std::uint64_t& serial) {
  thread_local std::string name;  // the one allocation that every message would need
  for (;;) {
    serial = next_.fetch_add(1, std::memory_order_relaxed);
    name_of(serial, name);
    auto file = fs.create(tmp, name);
    if (!file || *file) return file;
  }
}

std::unique_ptr<Workbench> Staging::take_bench() {
  {
    const std::scoped_lock lock(mutex_);
    if (!idle_.empty()) {
      auto bench = std::move(idle_.back());
      idle_.pop_back();
      return bench;
    }
  }
  return std::make_unique<Workbench>();
}

void Staging::give_back(std::unique_ptr<Workbench> bench) {
  const std::scoped_lock lock(mutex_);
  if (idle_.size() < kIdleBenches) idle_.push_back(std::move(bench));
}

Incoming::Incoming(Staging& staging, Folder& folder, HandlesPtr handles, EpochPtr epoch, HandlePtr file,
                   std::uint64_t serial)
    : staging_(staging),
      folder_(folder),
      handles_(std::move(handles)),
      epoch_(std::move(epoch)),
      file_(std::move(file)),
      serial_(serial),
      bench_(staging.take_bench()) {
  bench_->sha.reset();
  bench_->scanner.reset();
  ++staging_.alive;
}

Incoming::~Incoming() {
  if (state_ == State::Gone) return;
  try {
    discard();
  } catch (...) {
    staging_.left_behind = true;  // swept by the next process
  }
}

void Incoming::leave() {
  state_ = State::Gone;
  --staging_.alive;
}

void Incoming::discard() {
  if (state_ == State::Gone) return;
  static_cast<void>(staging_.syncer.wait(ticket_));  // of a file that is thrown away
  file_.reset();
  if (bench_) staging_.give_back(std::move(bench_));
  leave();
  auto handles = handles_ ? Result<HandlesPtr>(handles_) : staging_.folders.open(folder_);
  handles_.reset();
  if (!handles || !staging_.fs.remove(*(*handles)->tmp, staging_.name_of(serial_))) staging_.left_behind = true;
}

Done Incoming::write(std::string_view wire) {
  if (state_ != State::Open || broken_) return Error{Scope::Message, Retry::Never, "write to a finished message", ""};
  bench_->sha.update(wire);
  bench_->scanner.update(wire);
  wire_octets_ += wire.size();
  auto written = form_ == StoredForm::Lf ? convert(wire) : append_raw(wire);
  broken_ = !written;
  return written;
}

Done Incoming::convert(std::string_view wire) {
  while (!wire.empty()) {
    if (used_ >= kConverted)
      if (auto flushed = flush(); !flushed) return flushed;
    const std::string_view piece = wire.substr(0, kConverted - used_);
    char* out = bench_->buffer.get() + used_;
    const std::size_t taken = to_lf_.feed(piece, out);
    used_ = static_cast<std::size_t>(out - bench_->buffer.get());
    wire.remove_prefix(taken);
    if (taken < piece.size()) return go_raw(wire);
  }
  return done();
}

// The LF form cannot hold this message after all. What was stored so far expands to exactly what came, so it is written
// anew as it came, into another file once some of it is in the first.
Done Incoming::go_raw(std::string_view rest) {
  form_ = StoredForm::AsReceived;
  const std::string buffered(bench_->buffer.get(), used_);
  const std::uint64_t old_serial = serial_;
  const bool stored = disk_octets_ != 0;
  used_ = 0;
  disk_octets_ = 0;
  Done result = done();
  std::string crlf;
  const auto expand = [&](std::string_view lf) {
    crlf.resize(lf.size() * 2);
    result = append_raw({crlf.data(), static_cast<std::size_t>(lf_to_crlf(lf, crlf.data()) - crlf.data())});
    return static_cast<bool>(result);
  };
  if (stored) {
    file_.reset();
    const std::string old_name = staging_.name_of(old_serial);
    auto file = staging_.create(*handles_->tmp, serial_);
    if (!file) {
      serial_ = old_serial;  // that is the one to remove
      return file.error();
    }
    file_ = std::move(*file);
    const auto read = staging_.fs.read(*handles_->tmp, old_name, expand);
    const auto removed = staging_.fs.remove(*handles_->tmp, old_name);
    if (!removed) staging_.left_behind = true;
    if (!read) return read.error();
    if (!*read) return file_error(ENOENT, "read " + old_name);
    if (!result) return result;
  }
  if (!expand(buffered)) return result;
  if (to_lf_.held())
    if (auto cr = append_raw("\r"); !cr) return cr;
  return append_raw(rest);
}

Done Incoming::append_raw(std::string_view octets) {
  bare_.feed(octets);
  while (!octets.empty()) {
    if (used_ == Workbench::kBuffer)
      if (auto flushed = flush(); !flushed) return flushed;
    const std::size_t n = std::min(octets.size(), Workbench::kBuffer - used_);
    std::copy_n(octets.data(), n, bench_->buffer.get() + used_);
    used_ += n;
    octets.remove_prefix(n);
  }
  return done();
}

Done Incoming::flush() {
  if (used_ == 0) return done();
  if (auto written = staging_.fs.write(*file_, {bench_->buffer.get(), used_}); !written) return written;
  disk_octets_ += used_;
  used_ = 0;
  return done();
}

Result<Received> Incoming::finish(std::optional<std::int64_t> seconds) {
  if (state_ != State::Open || broken_) return Error{Scope::Message, Retry::Never, "finish of a finished message", ""};
  broken_ = true;  // until all of this has gone well
  if (form_ == StoredForm::Lf && to_lf_.held()) bench_->buffer[used_++] = '\r';
  if (auto flushed = flush(); !flushed) return flushed.error();
  if (seconds)
    if (auto set = staging_.fs.set_modified(*file_, *seconds); !set) return set.error();
  seconds_ = seconds;
  if (epoch_->barrier)
    file_.reset();
  else
    staging_.syncer.submit(std::move(file_), ticket_);
  Received received{wire_octets_, disk_octets_, crlf_octets(), form_, bench_->sha.finish(), bench_->scanner.finish()};
  staging_.give_back(std::move(bench_));
  handles_.reset();
  broken_ = false;
  state_ = State::Finished;
  return received;
}

Done Incoming::set_seconds(Handle& tmp, std::int64_t seconds) {
  if (seconds_ == seconds) return done();
  const std::string name = staging_.name_of(serial_);
  if (auto set = staging_.fs.set_modified(tmp, name, seconds); !set) return set;
  seconds_ = seconds;
  if (epoch_->barrier) return done();
  if (auto synced = staging_.syncer.wait(ticket_); !synced) return synced;
  auto file = staging_.fs.open_file(tmp, name);
  if (!file) return file.error();
  if (!*file) return file_error(ENOENT, "open " + name);
  staging_.syncer.submit(std::move(*file), ticket_);
  return done();
}

Done Incoming::wait_until_synced() { return epoch_->barrier ? done() : staging_.syncer.wait(ticket_); }

}  // namespace mailhaul::store
