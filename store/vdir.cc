#include "store/vdir.h"

#include <algorithm>
#include <random>

namespace mailhaul::store {
namespace {

constexpr std::string_view kOwn = ".mailhaul-", kStaged = ".tmp";

std::string random_name() {
  std::random_device random;
  return std::string(kOwn) + std::to_string(random()) + "-";
}

}  // namespace

Result<std::unique_ptr<VdirBook>> VdirBook::open(FileSystem& files, const std::string& root,
                                                 const std::string& directory, bool create) {
  if (create)
    if (auto made = files.make_directories(root + "/" + directory); !made) return made.error();
  auto handle = files.open_directory(root + "/" + directory);
  if (!handle) return handle.error();
  if (*handle == nullptr) {
    if (!create) return std::unique_ptr<VdirBook>();
    return Error{Scope::Service, Retry::Later, root + "/" + directory + " is not there", ""};
  }
  std::unique_ptr<VdirBook> book(new VdirBook(files, *std::move(handle)));
  book->own_ = random_name();
  if (create)
    if (auto swept = book->sweep(); !swept) return swept.error();
  return book;
}

Done VdirBook::sweep() {
  std::vector<std::string> left;
  auto listed = files_.list(*directory_, [&](const Entry& entry) {
    if (entry.name.starts_with(kOwn) && entry.name.ends_with(kStaged)) left.emplace_back(entry.name);
  });
  if (!listed) return listed;
  for (const auto& name : left)
    if (auto removed = files_.remove(*directory_, name); !removed) return removed.error();
  return done();
}

Result<bool> VdirBook::read(const std::string& file, const std::function<bool(std::string_view)>& visit) {
  return files_.read(*directory_, file, visit);
}

Result<std::optional<mail::Sha256Digest>> VdirBook::digest_of(const std::string& file) {
  mail::Sha256 hash;
  auto found = files_.read(*directory_, file, [&](std::string_view octets) {
    hash.update(octets);
    return true;
  });
  if (!found) return found.error();
  if (!*found) return std::optional<mail::Sha256Digest>();
  return std::optional(hash.finish());
}

Result<std::optional<std::uint64_t>> VdirBook::size_of(const std::string& file) {
  auto stat = files_.stat(*directory_, file);
  if (!stat) return stat.error();
  return *stat ? std::optional((*stat)->size) : std::optional<std::uint64_t>();
}

Result<std::vector<std::string>> VdirBook::cards() {
  std::vector<std::string> out;
  auto listed = files_.list(*directory_, [&](const Entry& entry) {
    if (!entry.name.starts_with('.') && entry.name.ends_with(".vcf")) out.emplace_back(entry.name);
  });
  if (!listed) return listed.error();
  std::ranges::sort(out);
  return out;
}

Done VdirBook::begin() {
  if (!begun_batch_) {
    auto barrier = files_.open_barrier(*directory_);
    if (!barrier) return barrier.error();
    barrier_ = *std::move(barrier);
    begun_batch_ = true;
  }
  current_ = {own_ + std::to_string(++serial_) + std::string(kStaged), {}, 0};
  auto file = files_.create(*directory_, current_.name);
  if (!file) return file.error();
  if (*file == nullptr) return Error{Scope::Service, Retry::Later, current_.name + " is taken", ""};
  file_ = *std::move(file);
  hash_.reset();
  return done();
}

Done VdirBook::write(std::string_view octets) {
  hash_.update(octets);
  current_.octets += octets.size();
  return files_.write(*file_, octets);
}

Result<VdirBook::Staged> VdirBook::end() {
  current_.sha256 = hash_.finish();
  if (barrier_ == nullptr)
    if (auto synced = files_.sync(*file_); !synced) {
      abandon();
      return synced.error();
    }
  file_.reset();
  return current_;
}

void VdirBook::abandon() {
  if (!file_) return;
  file_.reset();
  (void)files_.remove(*directory_, current_.name);  // what stays is swept by the next run
}

Done VdirBook::discard(const Staged& card) {
  auto removed = files_.remove(*directory_, card.name);
  return removed ? done() : Done(removed.error());
}

Result<std::vector<bool>> VdirBook::place(std::span<const Placing> cards) {
  std::vector<bool> out;
  if (cards.empty()) return out;
  const auto barrier = std::move(barrier_);
  begun_batch_ = false;
  if (barrier)
    if (auto synced = barrier->sync(); !synced) return synced.error();
  for (const auto& card : cards) {
    if (card.replace) {
      if (auto replaced = files_.replace(*directory_, card.staged, *directory_, card.file); !replaced)
        return replaced.error();
      out.push_back(true);
      continue;
    }
    auto renamed = files_.rename_new(*directory_, card.staged, *directory_, card.file);
    if (!renamed) return renamed.error();
    if (*renamed == FileSystem::Renamed::SourceMissing)
      return Error{Scope::Service, Retry::Later, card.staged + " has vanished", ""};
    out.push_back(*renamed == FileSystem::Renamed::Yes);
    if (*renamed == FileSystem::Renamed::TargetExists)
      if (auto removed = files_.remove(*directory_, card.staged); !removed) return removed.error();
  }
  if (auto synced = files_.sync_directory(*directory_); !synced) return synced.error();
  return out;
}

Result<bool> VdirBook::remove(const std::string& file) {
  auto removed = files_.remove(*directory_, file);
  if (!removed || !*removed) return removed;
  if (auto synced = files_.sync_directory(*directory_); !synced) return synced.error();
  return true;
}

Done VdirBook::describe(const std::string& file, std::string_view text) {
  std::string now;
  auto found = files_.read(*directory_, file, [&](std::string_view octets) {
    now += octets;
    return now.size() <= text.size();
  });
  if (!found) return found.error();
  if (*found ? now == text : text.empty()) return done();
  if (text.empty()) {
    auto removed = remove(file);
    return removed ? done() : Done(removed.error());
  }
  if (auto begun = begin(); !begun) return begun;
  if (auto written = write(text); !written) {
    abandon();
    return written;
  }
  auto staged = end();
  if (!staged) return staged.error();
  const Placing placing{staged->name, file, true};
  auto placed = place(std::span(&placing, 1));
  return placed ? done() : Done(placed.error());
}

}  // namespace mailhaul::store
