// The same message in several mailboxes: one file, several names.
#include <algorithm>
#include <map>

#include "protocols/base/text.h"
#include "store/maildir_impl.h"

namespace mailhaul::store {

// `names` gets the name of each that was linked.
Done Maildir::Impl::link(Folder& to, std::span<const Twin* const> group, std::span<std::string* const> names) {
  auto target = folders.open(to);
  if (!target) return target.error();
  std::vector<DeliveryKey> keys;
  std::set<std::string> keywords;
  for (const auto* twin : group) {
    keys.push_back(twin->key);
    keywords.insert(twin->flags.keywords().begin(), twin->flags.keywords().end());
  }
  std::ranges::sort(keys);
  auto there = look(to, keys);
  if (!there) return there.error();
  KeywordTable table;
  if (!keywords.empty()) {
    auto known = table_with(to, **target, keywords);
    if (!known) return known.error();
    table = std::move(*known);
  }
  std::set<DeliveryKey> taken;  // also by an earlier one of this group
  for (const auto& copy : *there) taken.insert(copy.name.key);
  to.owed = true;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const auto& twin = *group[i];
    if (!taken.insert(twin.key).second) continue;
    auto source = folders.open(folders.folder(twin.from));
    if (!source) return source.error();
    auto name = twin.copy.name;
    name.key = twin.key;
    name.letters = letters_of(twin.flags, table);
    auto& from = twin.copy.in_new ? *(*source)->fresh : *(*source)->cur;
    auto linked = fs.link_new(from, twin.copy.file, *(*target)->cur, name.text());
    if (!linked) return linked.error();
    if (*linked != FileSystem::Linked::Yes) continue;
    *names[i] = name.text();
    const std::scoped_lock guard(to.mutex);
    to.keys.add(twin.key);
  }
  if (auto synced = fs.sync_directory(*(*target)->cur); !synced) return synced;
  to.owed = false;
  return done();
}

Result<std::vector<std::string>> Maildir::duplicate(std::span<const Twin> twins) {
  std::vector<std::string> names(twins.size());
  if (twins.empty()) return names;
  // A name that a dead process has left, and that was not synced, must not be adopted for durable.
  if (auto marked = impl_->mark_receiving(); !marked) return marked.error();
  std::map<std::string_view, std::pair<std::vector<const Twin*>, std::vector<std::string*>>> groups;
  for (std::size_t i = 0; i < twins.size(); ++i) {
    auto& group = groups[twins[i].to];
    group.first.push_back(&twins[i]);
    group.second.push_back(&names[i]);
  }
  for (const auto& [directory, group] : groups) {
    auto& folder = impl_->folders.folder(std::string(directory));
    if (auto linked = impl_->link(folder, group.first, group.second); !linked)
      return linked.error().in("link into " + printable(directory));
  }
  return names;
}

}  // namespace mailhaul::store
