// A vdir: a directory of address books, each a directory of .vcf files with the files `displayname` and `color`, as
// vdirsyncer, khard and Radicale's importers read it. On the FileSystem seam. Cards are stored as received.
//
// A card is staged (".<random>.tmp", which readers of vdirs leave alone), and a batch of them put in place: data
// synced, renamed, directory synced. Belongs to one thread at a time. Errors as FileSystem's.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mail/digest.h"
#include "store/file_system.h"

namespace mailhaul::store {

class VdirBook {
 public:
  // Makes the directories that are missing, and sweeps what a killed process has staged. `create` false: nullptr where
  // there is none.
  static Result<std::unique_ptr<VdirBook>> open(FileSystem& files, const std::string& root,
                                                const std::string& directory, bool create);

  Result<std::optional<mail::Sha256Digest>> digest_of(const std::string& file);  // nullopt: there is no such file
  Result<std::optional<std::uint64_t>> size_of(const std::string& file);
  Result<bool> read(const std::string& file, const std::function<bool(std::string_view)>& visit);
  Result<std::vector<std::string>> cards();  // the .vcf files, sorted

  // What has been staged and is not yet in place. begin() → write() … → end(); one at a time.
  struct Staged {
    std::string name;
    mail::Sha256Digest sha256{};
    std::uint64_t octets = 0;
  };
  Done begin();
  Done write(std::string_view octets);
  Result<Staged> end();
  void abandon();                    // of the one that was begun, if any
  Done discard(const Staged& card);  // of one that is not wanted

  struct Placing {
    std::string staged, file;
    bool replace = false;  // a file of this name is replaced; otherwise it must not be there
  };
  // false at its place: the file was there already (it appeared meanwhile), and the staged one is dropped.
  Result<std::vector<bool>> place(std::span<const Placing> cards);
  Result<bool> remove(const std::string& file);  // durably; false: there was none

  // `displayname` or `color`; an empty text removes it. Writes only what is not there yet.
  Done describe(const std::string& file, std::string_view text);

 private:
  VdirBook(FileSystem& files, HandlePtr directory) : files_(files), directory_(std::move(directory)) {}
  Done sweep();
  FileSystem& files_;
  HandlePtr directory_;
  std::unique_ptr<Barrier> barrier_;  // since the first file of the batch; nullptr: each is synced by itself
  bool begun_batch_ = false;
  HandlePtr file_;
  Staged current_;
  mail::Sha256 hash_;
  std::uint64_t serial_ = 0;
  std::string own_;  // in the names of what this process stages
};

}  // namespace mailhaul::store
