// What is in a mailbox: finding, reading and removing messages.
#include <algorithm>

#include "protocols/base/text.h"
#include "store/maildir_impl.h"

namespace mailhaul::store {

Done Maildir::Impl::scan(const Handles& handles, const VisitFile& visit) {
  // new/ first: mail readers move files from there to cur/, so one that moves meanwhile is seen twice rather than
  // never.
  for (const bool in_new : {true, false}) {
    auto listed = fs.list(in_new ? *handles.fresh : *handles.cur, [&](const Entry& entry) {
      if (entry.kind == Kind::File) visit(entry.name, MaildirName::parse(entry.name), in_new);
    });
    if (!listed) return listed;
  }
  return done();
}

// A file that is renamed while a directory is read may be seen under neither name. So the scan is done again if the
// directories changed meanwhile, or so shortly before that their times may not show it.
Done Maildir::Impl::ensure_index(Folder& folder, const Handles& handles) {
  if (folder.keys.scanned()) return done();
  const auto times = [&]() -> Result<std::array<Stat, 2>> {
    auto cur = fs.stat(*handles.cur);
    if (!cur) return cur.error();
    auto fresh = fs.stat(*handles.fresh);
    if (!fresh) return fresh.error();
    return std::array{*cur, *fresh};
  };
  for (int round = 0; round < 2; ++round) {
    auto before = times();
    if (!before) return before.error();
    auto scanned = scan(handles, [&](std::string_view, const std::optional<MaildirName>& name, bool) {
      if (name) folder.keys.add(name->key);
    });
    if (!scanned) return scanned;
    auto after = times();
    if (!after) return after.error();
    const std::int64_t now = options.clock->unix_seconds();
    bool quiet = true;
    for (std::size_t i = 0; i < 2; ++i)
      quiet = quiet && (*before)[i].modified == (*after)[i].modified &&
              (*before)[i].nanoseconds == (*after)[i].nanoseconds && (*before)[i].modified + 2 < now;
    if (quiet) break;
  }
  folder.keys.start();
  return done();
}

Result<std::vector<FoundCopy>> Maildir::Impl::find(const Handles& handles, std::span<const DeliveryKey> keys) {
  std::vector<std::optional<FoundCopy>> found(keys.size());
  std::size_t hits = 0;
  // The second scan is for what a rename may have hidden from the first.
  for (int round = 0; round < 2 && hits < keys.size(); ++round) {
    auto scanned = scan(handles, [&](std::string_view file, std::optional<MaildirName> name, bool in_new) {
      if (!name) return;
      const auto at = std::lower_bound(keys.begin(), keys.end(), name->key);
      if (at == keys.end() || *at != name->key) return;
      auto& slot = found[static_cast<std::size_t>(at - keys.begin())];
      hits += slot ? 0 : 1;
      if (!slot || slot->in_new) slot = FoundCopy{std::move(*name), std::string(file), in_new};
    });
    if (!scanned) return scanned.error();
  }
  std::vector<FoundCopy> copies;
  copies.reserve(hits);
  for (auto& slot : found)
    if (slot) copies.push_back(std::move(*slot));
  return copies;
}

Result<std::vector<FoundCopy>> Maildir::Impl::look(Folder& folder, std::span<const DeliveryKey> keys) {
  auto handles = folders.open(folder);
  if (!handles) return handles.error();
  std::vector<DeliveryKey> candidates;
  bool first = false;
  {
    const std::scoped_lock guard(folder.mutex);
    first = !folder.keys.scanned();
    if (auto indexed = ensure_index(folder, **handles); !indexed) {
      folder.keys.clear();
      return indexed.error();
    }
    candidates = folder.keys.candidates(keys);
  }
  if (first) folders.limit_keys(folder);
  if (candidates.empty()) return std::vector<FoundCopy>();
  if (folder.owed)  // an earlier batch was renamed but not synced: what is told here may be adopted
    if (auto synced = fs.sync_directory(*(*handles)->cur); !synced) return synced.error();
  auto found = find(**handles, candidates);
  if (!found || found->size() == candidates.size()) return found;
  auto copy = found->begin();
  std::erase_if(candidates, [&](const DeliveryKey& key) {
    while (copy != found->end() && copy->name.key < key) ++copy;
    return copy != found->end() && copy->name.key == key;
  });
  const std::scoped_lock guard(folder.mutex);
  folder.keys.drop(candidates);
  return found;
}

Result<std::vector<FoundCopy>> Maildir::look(const std::string& directory, std::span<const DeliveryKey> keys) {
  auto found = impl_->look(impl_->folders.folder(directory), keys);
  if (!found) return found.error().in("look into " + printable(directory));
  return found;
}

void Maildir::refresh() { impl_->folders.forget_keys(); }

Done Maildir::each_copy(const std::string& directory, const std::function<void(const FoundCopy&)>& visit) {
  auto handles = impl_->folders.open(impl_->folders.folder(directory));
  if (!handles) return handles.error();
  return impl_->scan(**handles, [&](std::string_view file, std::optional<MaildirName> name, bool in_new) {
    if (name) visit(FoundCopy{std::move(*name), std::string(file), in_new});
  });
}

Done Maildir::each_foreign(const std::string& directory,
                           const std::function<void(std::string_view file, bool in_new)>& visit) {
  auto handles = impl_->folders.open(impl_->folders.folder(directory));
  if (!handles) return handles.error();
  return impl_->scan(**handles, [&](std::string_view file, const std::optional<MaildirName>& name, bool in_new) {
    if (!name) visit(file, in_new);
  });
}

Result<std::uint64_t> Maildir::size_of(const std::string& directory, const FoundCopy& copy) {
  auto handles = impl_->folders.open(impl_->folders.folder(directory));
  if (!handles) return handles.error();
  auto stat = impl_->fs.stat(copy.in_new ? *(*handles)->fresh : *(*handles)->cur, copy.file);
  if (!stat) return stat.error();
  if (!*stat)
    return Error{Scope::Message, Retry::Later, "size of " + printable(copy.file) + ": it is no longer there", ""};
  return (*stat)->size;
}

Done Maildir::read(const std::string& directory, const FoundCopy& copy, StoredForm form,
                   const std::function<bool(std::string_view)>& visit) {
  auto handles = impl_->folders.open(impl_->folders.folder(directory));
  if (!handles) return handles.error();
  std::string crlf;
  const auto give = [&](std::string_view chunk) {
    if (form == StoredForm::AsReceived) return visit(chunk);
    crlf.resize(chunk.size() * 2);
    return visit({crlf.data(), static_cast<std::size_t>(lf_to_crlf(chunk, crlf.data()) - crlf.data())});
  };
  auto there = impl_->fs.read(copy.in_new ? *(*handles)->fresh : *(*handles)->cur, copy.file, give);
  if (there && !*there) {
    auto found = impl_->find(**handles, {&copy.name.key, 1});
    if (!found) return found.error();
    if (!found->empty())
      there = impl_->fs.read(found->front().in_new ? *(*handles)->fresh : *(*handles)->cur, found->front().file, give);
  }
  if (!there) return there.error();
  if (*there) return done();
  return Error{Scope::Message, Retry::Never, "read " + printable(copy.file) + ": it is no longer there", ""};
}

Done Maildir::remove(const std::string& directory, const FoundCopy& copy) {
  auto handles = impl_->folders.open(impl_->folders.folder(directory));
  if (!handles) return handles.error();
  auto removed = impl_->fs.remove(copy.in_new ? *(*handles)->fresh : *(*handles)->cur, copy.file);
  if (removed && !*removed) {
    auto found = impl_->find(**handles, {&copy.name.key, 1});
    if (!found) return found.error();
    if (!found->empty())
      removed = impl_->fs.remove(found->front().in_new ? *(*handles)->fresh : *(*handles)->cur, found->front().file);
  }
  if (!removed) return removed.error();
  return done();  // gone by itself is gone, too
}

Done Maildir::sync_directory(const std::string& directory) {
  auto handles = impl_->folders.open(impl_->folders.folder(directory));
  if (!handles) return handles.error();
  if (auto synced = impl_->fs.sync_directory(*(*handles)->cur); !synced) return synced;
  return impl_->fs.sync_directory(*(*handles)->fresh);
}

}  // namespace mailhaul::store
