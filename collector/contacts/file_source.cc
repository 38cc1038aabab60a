#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>

#include "collector/contacts/source.h"
#include "collector/contacts/vcard.h"
#include "protocols/base/text.h"
#include "protocols/mail/digest.h"

namespace mailhaul::contacts {
namespace {

namespace fs = std::filesystem;
using Extent = CardSplitter::Extent;
constexpr std::size_t kHead = 64 << 10;  // of a card: where its UID is looked for
constexpr std::size_t kPiece = 64 << 10;

Error unreadable(const std::string& path) {
  return {Scope::Account, Retry::AfterUserAction, printable(path) + " cannot be read",
          "check its name and its permissions"};
}

Done each_piece(const std::string& path, const Extent& extent, const std::function<Done(std::string_view)>& visit) {
  std::ifstream in(path, std::ios::binary);
  if (!in || !in.seekg(static_cast<std::streamoff>(extent.begin))) return unreadable(path);
  std::string buffer(kPiece, '\0');
  for (auto left = extent.end - extent.begin; left > 0;) {
    const auto want = std::min<std::uint64_t>(left, kPiece);
    if (!in.read(buffer.data(), static_cast<std::streamsize>(want))) return unreadable(path);
    if (auto taken = visit(std::string_view(buffer).substr(0, want)); !taken) return taken;
    left -= want;
  }
  return done();
}

class FileSource final : public CardSource {
 public:
  FileSource(std::string path, std::vector<std::string> files) : path_(std::move(path)), files_(std::move(files)) {}
  [[nodiscard]] std::string identity() const override { return "vcf:" + path_; }
  [[nodiscard]] std::string path_of(const Book& book) const override {
    return "/" + fs::path(book.url).filename().string();
  }

  Result<std::vector<Book>> books(const std::string&) override {
    std::vector<Book> out;
    for (const auto& file : files_) {
      mail::Sha256 hash;
      if (auto read = whole(file, [&](std::string_view octets) { hash.update(octets); }); !read) return read.error();
      Book book;
      book.url = file;
      book.name = fs::path(file).stem().string();
      book.state = mail::hex(hash.finish());
      out.push_back(std::move(book));
    }
    return out;
  }

  Result<Changes> changes(const Book& book, const std::string&) override {
    CardSplitter splitter;
    if (auto read = whole(book.url, [&](std::string_view octets) { splitter.feed(octets); }); !read)
      return read.error();
    Changes out;
    out.whole = true;
    auto& extents = extents_[book.url];
    extents.clear();
    for (const auto& extent : splitter.finish()) {
      mail::Sha256 hash;
      std::string head;
      auto read = each_piece(book.url, extent, [&](std::string_view octets) {
        hash.update(octets);
        if (head.size() < kHead) head += octets.substr(0, kHead - head.size());
        return done();
      });
      if (!read) return read.error();
      const auto digest = mail::hex(hash.finish());
      const auto uids = values_of(head, "UID");
      const auto name = path_of(book) + "/" + (uids.empty() || uids.front().empty() ? digest : uids.front());
      auto path = name;
      for (int again = 2; !extents.emplace(path, extent).second; ++again) path = name + "#" + std::to_string(again);
      out.present.push_back({path, path, digest, extent.end - extent.begin});
      where_[path] = {book.url, extent};
    }
    return out;
  }

  Done fetch(const Book&, std::span<const Listed* const> cards, const std::function<Done(Card&&)>& card) override {
    for (const auto* one : cards) {
      std::string octets;
      auto there = get(*one, [&](std::string_view piece) {
        octets += piece;
        return done();
      });
      if (!there) return there.error();
      if (*there)
        if (auto taken = card({one->path, one->etag, std::move(octets), false}); !taken) return taken;
    }
    return done();
  }

  Result<bool> get(const Listed& card, const std::function<Done(std::string_view)>& octets) override {
    const auto found = where_.find(card.path);
    if (found == where_.end()) return false;
    if (auto read = each_piece(found->second.first, found->second.second, octets); !read) return read.error();
    return true;
  }

 private:
  static Done whole(const std::string& file, const std::function<void(std::string_view)>& visit) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (error) return unreadable(file);
    return each_piece(file, {0, size}, [&](std::string_view octets) {
      visit(octets);
      return done();
    });
  }

  std::string path_;
  std::vector<std::string> files_;
  std::map<std::string, std::map<std::string, Extent>> extents_;
  std::map<std::string, std::pair<std::string, Extent>> where_;
};

}  // namespace

Result<std::unique_ptr<CardSource>> file_source(const std::string& path) {
  std::error_code error;
  const auto absolute = fs::weakly_canonical(path, error).string();
  if (error || !fs::exists(absolute, error)) return unreadable(path);
  std::vector<std::string> files;
  if (fs::is_directory(absolute, error)) {
    for (const auto& entry : fs::directory_iterator(absolute, error))
      if (entry.is_regular_file(error) && equal_ignoring_case(entry.path().extension().string(), ".vcf"))
        files.push_back(entry.path().string());
    std::ranges::sort(files);
  } else {
    files.push_back(absolute);
  }
  if (error) return unreadable(path);
  return std::unique_ptr<CardSource>(std::make_unique<FileSource>(absolute, std::move(files)));
}

}  // namespace mailhaul::contacts
