// A batch on its way from tmp/ to cur/: durable data, then names, then durable names.
#include <algorithm>

#include "protocols/base/text.h"
#include "store/maildir_impl.h"

namespace mailhaul::store {
namespace {

// Calls visit(group) for each run of items that go to the same mailbox; stops at the first Error.
template <class Visit>
Done each_group(std::span<BatchItem> items, Visit visit) {
  for (std::size_t begin = 0; begin < items.size();) {
    std::size_t end = begin;
    while (end < items.size() && items[end].to == items[begin].to) ++end;
    const auto group = items.subspan(begin, end - begin);
    if (Done visited = visit(group); !visited) return visited.error().in("deliver to " + group[0].to->directory);
    begin = end;
  }
  return done();
}

}  // namespace

void Maildir::Impl::end_epoch() {
  const std::scoped_lock guard(epoch_mutex_);
  if (epoch_ && epoch_->barrier) epoch_.reset();
}

// Finds the messages whose key is in the mailbox already, or comes twice in the batch.
Done Maildir::Impl::mark_present(std::span<BatchItem> group) {
  std::vector<BatchItem*> by_key;
  std::vector<DeliveryKey> keys;
  for (auto& item : group) by_key.push_back(&item);
  std::stable_sort(by_key.begin(), by_key.end(), [](const auto* a, const auto* b) { return *a->key < *b->key; });
  for (auto* item : by_key) {
    item->present = !keys.empty() && keys.back() == *item->key;
    if (!item->present) keys.push_back(*item->key);
  }
  auto there = look(*group[0].to, keys);
  if (!there) return there.error();
  auto copy = there->begin();
  for (auto* item : by_key) {
    while (copy != there->end() && copy->name.key < *item->key) ++copy;
    if (copy != there->end() && copy->name.key == *item->key) item->present = true;
  }
  return done();
}

Done Maildir::Impl::prepare_names(std::span<BatchItem> group, std::vector<std::string>& names) {
  std::set<std::string> keywords;
  for (const auto& item : group) keywords.insert(item.flags->keywords().begin(), item.flags->keywords().end());
  KeywordTable table;
  if (!keywords.empty()) {
    auto handles = folders.open(*group[0].to);
    if (!handles) return handles.error();
    auto known = table_with(*group[0].to, **handles, keywords);
    if (!known) return known.error();
    table = std::move(*known);
  }
  MaildirName name;
  for (const auto& item : group) {
    if (item.present) continue;
    name.seconds = item.seconds;
    name.key = *item.key;
    name.disk_octets = item.message->disk_octets();
    name.crlf_octets = item.message->crlf_octets();
    name.letters = letters_of(*item.flags, table);
    names[item.index] = name.text();
  }
  return done();
}

Done Maildir::Impl::make_durable(std::span<BatchItem> items) {
  Epoch* oldest = nullptr;
  for (const auto& item : items) {
    if (auto synced = item.message->wait_until_synced(); !synced) return synced;
    Epoch* epoch = item.message->epoch().get();
    if (epoch->failed) return Error{Scope::Service, Retry::Later, "a sync failed while this was being received", ""};
    if (epoch->barrier && (oldest == nullptr || epoch->serial < oldest->serial)) oldest = epoch;
  }
  if (oldest == nullptr) return done();
  // The oldest barrier sees whatever the younger ones could see. A failure is told once, so it is remembered: messages
  // of these epochs that are still being received may have lost octets, too.
  auto synced = oldest->barrier->sync();
  if (!synced)
    for (const auto& item : items) item.message->epoch()->failed = true;
  return synced;
}

Done Maildir::Impl::publish(std::span<BatchItem> group, std::vector<std::string>& names) {
  Folder& to = *group[0].to;
  auto target = folders.open(to);
  if (!target) return target.error();
  std::vector<const DeliveryKey*> delivered;
  std::string tmp_name;
  Done result = done();
  to.owed = true;
  for (const auto& item : group) {
    if (item.present) continue;
    HandlesPtr source = *target;
    if (&item.message->folder() != &to) {
      auto other = folders.open(item.message->folder());
      if (!other) result = other.error();
      if (!other) break;
      source = std::move(*other);
    }
    staging.name_of(item.message->serial(), tmp_name);
    auto renamed = fs.rename_new(*source->tmp, tmp_name, *(*target)->cur, names[item.index]);
    if (renamed && *renamed == FileSystem::Renamed::Yes) {
      item.message->mark_delivered();
      delivered.push_back(item.key);
      continue;
    }
    if (renamed && *renamed == FileSystem::Renamed::TargetExists) {
      names[item.index].clear();
      continue;
    }
    result = renamed ? Error{Scope::Mailbox, Retry::Later, "another program has removed a file from tmp/", ""}
                     : renamed.error();
    break;
  }
  const std::scoped_lock guard(to.mutex);
  for (const auto* key : delivered) to.keys.add(*key);
  return result;
}

Done Maildir::Impl::deliver(std::vector<BatchItem>& items, std::vector<std::string>& names) {
  end_epoch();
  std::stable_sort(items.begin(), items.end(), [](const BatchItem& a, const BatchItem& b) {
    return a.to != b.to && a.to->directory < b.to->directory;
  });
  auto prepared = each_group(items, [&](std::span<BatchItem> group) -> Done {
    if (auto marked = mark_present(group); !marked) return marked;
    return prepare_names(group, names);
  });
  if (!prepared) return prepared;
  for (const auto& item : items) {
    if (item.message->seconds() == item.seconds) continue;
    auto handles = folders.open(item.message->folder());
    if (!handles) return handles.error();
    if (auto set = item.message->set_seconds(*(*handles)->tmp, item.seconds); !set) return set;
  }
  if (auto durable = make_durable(items); !durable) return durable.error().in("deliver");
  auto published = each_group(items, [&](std::span<BatchItem> group) { return publish(group, names); });
  if (!published) return published;
  return each_group(items, [&](std::span<BatchItem> group) -> Done {
    auto handles = folders.open(*group[0].to);
    if (!handles) return handles.error();
    if (auto synced = fs.sync_directory(*(*handles)->cur); !synced) return synced;
    group[0].to->owed = false;
    return done();
  });
}

Result<std::vector<std::string>> Maildir::deliver(std::span<std::pair<std::string, Delivery>> batch) {
  std::vector<BatchItem> items;
  items.reserve(batch.size());
  for (auto& [directory, delivery] : batch) {
    BatchItem item;
    item.message = static_cast<Incoming*>(delivery.message.body());  // nothing else comes from receive()
    item.to = &impl_->folders.folder(directory);
    item.key = &delivery.key;
    item.seconds = std::max<std::int64_t>(delivery.seconds, 0);
    item.flags = &delivery.flags;
    item.index = items.size();
    if (item.message == nullptr || !item.message->finished())
      return Error{Scope::Message, Retry::Never, "deliver: a message of the batch is not finished", ""};
    items.push_back(item);
  }
  std::vector<std::string> names(batch.size());
  const auto result = impl_->deliver(items, names);
  // What is not in cur/ now never will be: it is there already, or it must be fetched again.
  for (const auto& item : items) item.message->discard();
  if (!result) return result.error();
  return names;
}

}  // namespace mailhaul::store
