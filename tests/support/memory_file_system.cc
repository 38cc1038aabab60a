#include "tests/support/memory_file_system.h"

#include <algorithm>
#include <cerrno>
#include <set>

namespace mailhaul::test {

using store::file_error;
using store::Handle;
using store::HandlePtr;

struct MemoryFileSystem::Node {
  bool directory = false;
  bool dirty = false;  // is in dirty_
  bool locked = false;
  std::uint64_t lock_life = 0;
  std::int64_t modified = 0;
  std::uint32_t nanoseconds = 0;
  std::string data;
  std::map<std::string, NodePtr, std::less<>> entries;

  std::string durable_data;  // what a crash leaves
  std::int64_t durable_modified = 0;
  std::map<std::string, NodePtr, std::less<>> durable_entries;
  bool error_unseen = false;  // the next fsync tells of it, the one after that does not
  bool data_lost = false;     // a failed sync threw the changes away: later syncs do not bring them back

  void make_durable() {
    if (directory) {
      durable_entries = entries;
    } else if (!data_lost) {
      durable_data = data;
      durable_modified = modified;
    }
  }
};

class MemoryFileSystem::OpenNode final : public Handle {
 public:
  OpenNode(MemoryFileSystem& owner, NodePtr node) : owner_(owner), node_(std::move(node)), life_(owner.life_) {}
  OpenNode(const OpenNode&) = delete;
  OpenNode& operator=(const OpenNode&) = delete;
  ~OpenNode() override {
    const std::scoped_lock lock(owner_.mutex_);
    --owner_.open_handles_;
    if (holds_lock && node_->lock_life == life_) node_->locked = false;
  }
  [[nodiscard]] const NodePtr& node() const { return node_; }
  [[nodiscard]] std::uint64_t life() const { return life_; }
  bool holds_lock = false;

 private:
  MemoryFileSystem& owner_;
  NodePtr node_;
  std::uint64_t life_;
};

class MemoryFileSystem::MemoryBarrier final : public store::Barrier {
 public:
  explicit MemoryBarrier(MemoryFileSystem& owner)
      : owner_(owner), errors_seen_(owner.write_back_errors_), life_(owner.life_) {}
  Done sync() override {
    const std::scoped_lock lock(owner_.mutex_);
    if (life_ != owner_.life_) return file_error(EBADF, "syncfs");
    if (auto allowed = owner_.effect("barrier", {}); !allowed) {
      owner_.lose_unsynced_data();
      errors_seen_ = owner_.write_back_errors_;
      return allowed;
    }
    owner_.sync_all();
    // An error of any write-back since the last look is told, once for each descriptor.
    if (errors_seen_ != owner_.write_back_errors_) {
      errors_seen_ = owner_.write_back_errors_;
      return file_error(EIO, "syncfs");
    }
    return done();
  }

 private:
  MemoryFileSystem& owner_;
  std::uint64_t errors_seen_;
  std::uint64_t life_;
};

MemoryFileSystem::MemoryFileSystem(const Options& options) : options_(options), root_(std::make_shared<Node>()) {
  root_->directory = true;
}
MemoryFileSystem::~MemoryFileSystem() = default;

void MemoryFileSystem::fail_at(std::uint64_t n, int errno_value) {
  fail_at_ = n;
  fail_errno_ = errno_value;
}

void MemoryFileSystem::die_at(std::uint64_t n, Death how) {
  die_at_ = n;
  death_ = how;
}

Done MemoryFileSystem::effect(std::string_view what, const std::string& name) {
  if (dead_) return file_error(EIO, "the process is dead: " + std::string(what));
  ++effects_;
  if (options_.trace) trace_.push_back(std::string(what) + (name.empty() ? "" : " " + name));
  if (effects_ == die_at_) {
    dead_ = true;
    if (death_ == Death::Throw) throw Crash{};
    return file_error(EIO, "the process is dead: " + std::string(what));
  }
  if (effects_ == fail_at_) return file_error(fail_errno_, std::string(what) + " " + name);
  return done();
}

Result<MemoryFileSystem::NodePtr> MemoryFileSystem::node_of(Handle& handle) {
  auto& open = static_cast<OpenNode&>(handle);
  if (dead_) return file_error(EIO, "the process is dead");
  if (open.life() != life_) return file_error(EBADF, "handle");
  return open.node();
}

Result<MemoryFileSystem::NodePtr> MemoryFileSystem::directory_of(Handle& handle) {
  auto node = node_of(handle);
  if (node && !(*node)->directory) return file_error(ENOTDIR, "handle");
  return node;
}

HandlePtr MemoryFileSystem::open(NodePtr node) {
  most_open_handles_ = std::max(most_open_handles_, ++open_handles_);
  return std::make_unique<OpenNode>(*this, std::move(node));
}

void MemoryFileSystem::touch(const NodePtr& node) {
  if (node->directory) {
    node->modified = 1;
    node->nanoseconds = static_cast<std::uint32_t>(++ticks_);
  }
  if (!node->dirty) {
    node->dirty = true;
    dirty_.push_back(node);
  }
}

void MemoryFileSystem::sync_all() {
  for (const auto& node : dirty_) {
    node->make_durable();
    node->dirty = node->data_lost;
  }
  std::erase_if(dirty_, [](const NodePtr& node) { return !node->dirty; });
}

void MemoryFileSystem::lose_unsynced_data() {
  if (dead_) return;
  ++write_back_errors_;
  for (const auto& node : dirty_)
    if (!node->directory && !node->data_lost) node->data_lost = node->error_unseen = true;
}

void MemoryFileSystem::fail_write_back() {
  const std::scoped_lock lock(mutex_);
  lose_unsynced_data();
}

void MemoryFileSystem::crash() { revert(nullptr); }
void MemoryFileSystem::crash(std::mt19937_64& luck) { revert(&luck); }

void MemoryFileSystem::revert(std::mt19937_64* luck) {
  const std::scoped_lock lock(mutex_);
  const auto heads = [&] { return luck != nullptr && ((*luck)() & 1) != 0; };
  for (const auto& node : dirty_) {
    node->dirty = false;
    if (!node->directory) {
      if (heads() && !node->data_lost) {
        if (heads() && node->data.size() > node->durable_data.size())
          node->data.resize(node->durable_data.size() + (*luck)() % (node->data.size() - node->durable_data.size()));
        if (heads()) node->modified = node->durable_modified;
      } else {
        node->data = node->durable_data;
        node->modified = node->durable_modified;
      }
      node->durable_data = node->data;
      node->durable_modified = node->modified;
      node->data_lost = node->error_unseen = false;
      continue;
    }
    auto after = node->durable_entries;
    std::map<const Node*, std::string> old_names;
    for (const auto& [name, child] : node->durable_entries)
      if (!node->entries.contains(name)) old_names[child.get()] = name;
    for (const auto& [name, child] : node->entries) {
      const auto before = node->durable_entries.find(name);
      if ((before != node->durable_entries.end() && before->second == child) || !heads()) continue;
      after[name] = child;
      // A rename within one directory is one change on every file system: both names never survive, nor neither.
      if (const auto old = old_names.find(child.get()); old != old_names.end()) after.erase(old->second);
    }
    std::set<const Node*> kept;
    for (const auto& [name, child] : node->entries) kept.insert(child.get());
    for (const auto& [child, name] : old_names)
      if (!kept.contains(child) && heads()) after.erase(name);
    node->entries = after;
    node->durable_entries = std::move(after);
  }
  dirty_.clear();
  ++life_;
  dead_ = false;
  die_at_ = fail_at_ = 0;
}

void MemoryFileSystem::restart() {
  const std::scoped_lock lock(mutex_);
  ++life_;
  dead_ = false;
  die_at_ = fail_at_ = 0;
}

void MemoryFileSystem::collect(const Node& directory, const std::string& path,
                               std::map<std::string, std::string>& out) const {
  for (const auto& [name, child] : directory.entries) {
    if (!child->directory) {
      out[path + name] = child->data;
      continue;
    }
    out[path + name + "/"];
    collect(*child, path + name + "/", out);
  }
}

std::map<std::string, std::string> MemoryFileSystem::files() const {
  const std::scoped_lock lock(mutex_);
  std::map<std::string, std::string> out;
  collect(*root_, "/", out);
  return out;
}

Result<HandlePtr> MemoryFileSystem::open_directory(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  if (dead_) return file_error(EIO, "the process is dead");
  NodePtr node = root_;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, slash - at);
    at = slash + 1;
    if (name.empty()) continue;
    const auto found = node->entries.find(name);
    if (found == node->entries.end()) return HandlePtr();
    node = found->second;
    if (!node->directory) return file_error(ENOTDIR, "open directory " + path);
  }
  return open(node);
}

Result<HandlePtr> MemoryFileSystem::open_directory(Handle& parent, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(parent);
  if (!node) return node.error();
  const auto found = (*node)->entries.find(name);
  if (found == (*node)->entries.end()) return HandlePtr();
  if (!found->second->directory) return file_error(ENOTDIR, "open directory " + name);
  return open(found->second);
}

Done MemoryFileSystem::make_directory(Handle& parent, const std::string& name, bool* created) {
  const std::scoped_lock lock(mutex_);
  if (created != nullptr) *created = false;
  auto node = directory_of(parent);
  if (!node) return node.error();
  if (const auto found = (*node)->entries.find(name); found != (*node)->entries.end())
    return found->second->directory ? done() : Done(file_error(ENOTDIR, "create directory " + name));
  if (auto allowed = effect("mkdir", name); !allowed) return allowed;
  auto child = std::make_shared<Node>();
  child->directory = true;
  (*node)->entries[name] = std::move(child);
  touch(*node);
  if (created != nullptr) *created = true;
  return done();
}

Done MemoryFileSystem::make_directories(const std::string& path) {
  std::string done_so_far;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, slash - at);
    at = slash + 1;
    if (name.empty()) continue;
    auto parent = open_directory(done_so_far);
    if (!parent) return parent.error();
    if (auto made = make_directory(**parent, name, nullptr); !made) return made;
    if (auto synced = sync_directory(**parent); !synced) return synced;
    done_so_far += "/" + name;
  }
  return done();
}

Result<HandlePtr> MemoryFileSystem::create(Handle& directory, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  if ((*node)->entries.contains(name)) return HandlePtr();
  if (auto allowed = effect("create", name); !allowed) return allowed.error();
  auto file = std::make_shared<Node>();
  (*node)->entries[name] = file;
  touch(*node);
  touch(file);
  return open(std::move(file));
}

Result<HandlePtr> MemoryFileSystem::open_file(Handle& directory, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  const auto found = (*node)->entries.find(name);
  if (found == (*node)->entries.end()) return HandlePtr();
  return open(found->second);
}

Done MemoryFileSystem::write(Handle& file, std::string_view octets) {
  const std::scoped_lock lock(mutex_);
  auto node = node_of(file);
  if (!node) return node.error();
  if (auto allowed = effect("write", {}); !allowed) return allowed;
  if (options_.space != 0 && used_ + octets.size() > options_.space) {
    const auto fits = static_cast<std::size_t>(options_.space - used_);
    (*node)->data += octets.substr(0, fits);
    used_ += fits;
    touch(*node);
    return file_error(ENOSPC, "write");
  }
  used_ += octets.size();
  (*node)->data += octets;
  touch(*node);
  return done();
}

Done MemoryFileSystem::set_modified(Handle& file, std::int64_t unix_seconds) {
  const std::scoped_lock lock(mutex_);
  auto node = node_of(file);
  if (!node) return node.error();
  if (auto allowed = effect("utimens", {}); !allowed) return allowed;
  (*node)->modified = unix_seconds;
  touch(*node);
  return done();
}

Done MemoryFileSystem::set_modified(Handle& directory, const std::string& name, std::int64_t unix_seconds) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  const auto found = (*node)->entries.find(name);
  if (found == (*node)->entries.end()) return file_error(ENOENT, "set time of " + name);
  if (auto allowed = effect("utimens", name); !allowed) return allowed;
  found->second->modified = unix_seconds;
  touch(found->second);
  return done();
}

Done MemoryFileSystem::sync(Handle& file) {
  const std::scoped_lock lock(mutex_);
  auto node = node_of(file);
  if (!node) return node.error();
  if (auto allowed = effect("fsync", {}); !allowed) {
    if (!dead_) (*node)->data_lost = true;
    return allowed;
  }
  if ((*node)->error_unseen) {
    (*node)->error_unseen = false;
    return file_error(EIO, "fsync");
  }
  (*node)->make_durable();
  return done();
}

Done MemoryFileSystem::sync_directory(Handle& directory) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  if (auto allowed = effect("fsync directory", {}); !allowed) return allowed;
  (*node)->make_durable();
  return done();
}

Result<std::unique_ptr<store::Barrier>> MemoryFileSystem::open_barrier(Handle& directory) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  if (!options_.barrier) return std::unique_ptr<store::Barrier>();
  return std::unique_ptr<store::Barrier>(std::make_unique<MemoryBarrier>(*this));
}

Result<store::FileSystem::Renamed> MemoryFileSystem::rename_new(Handle& from, const std::string& old_name, Handle& to,
                                                                const std::string& new_name) {
  const std::scoped_lock lock(mutex_);
  auto source = directory_of(from);
  if (!source) return source.error();
  auto target = directory_of(to);
  if (!target) return target.error();
  const auto found = (*source)->entries.find(old_name);
  if (found == (*source)->entries.end()) return Renamed::SourceMissing;
  if ((*target)->entries.contains(new_name)) return Renamed::TargetExists;
  if (auto allowed = effect("rename", new_name); !allowed) return allowed.error();
  (*target)->entries[new_name] = found->second;
  (*source)->entries.erase(found);
  touch(*source);
  touch(*target);
  return Renamed::Yes;
}

Result<store::FileSystem::Linked> MemoryFileSystem::link_new(Handle& from, const std::string& old_name, Handle& to,
                                                             const std::string& new_name) {
  const std::scoped_lock lock(mutex_);
  auto source = directory_of(from);
  if (!source) return source.error();
  auto target = directory_of(to);
  if (!target) return target.error();
  if (!options_.links) return Linked::Unsupported;
  const auto found = (*source)->entries.find(old_name);
  if (found == (*source)->entries.end()) return Linked::SourceMissing;
  if ((*target)->entries.contains(new_name)) return Linked::TargetExists;
  if (auto allowed = effect("link", new_name); !allowed) return allowed.error();
  (*target)->entries[new_name] = found->second;
  touch(*target);
  return Linked::Yes;
}

Done MemoryFileSystem::replace(Handle& from, const std::string& old_name, Handle& to, const std::string& new_name) {
  const std::scoped_lock lock(mutex_);
  auto source = directory_of(from);
  if (!source) return source.error();
  auto target = directory_of(to);
  if (!target) return target.error();
  const auto found = (*source)->entries.find(old_name);
  if (found == (*source)->entries.end()) return file_error(ENOENT, "replace " + new_name);
  if (auto allowed = effect("replace", new_name); !allowed) return allowed;
  const NodePtr node = found->second;
  (*source)->entries.erase(found);
  (*target)->entries[new_name] = node;
  touch(*source);
  touch(*target);
  return done();
}

Result<bool> MemoryFileSystem::remove(Handle& directory, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  const auto found = (*node)->entries.find(name);
  if (found == (*node)->entries.end()) return false;
  if (found->second->directory) return file_error(EISDIR, "remove " + name);
  if (auto allowed = effect("unlink", name); !allowed) return allowed.error();
  used_ -= std::min<std::uint64_t>(used_, found->second->data.size());
  (*node)->entries.erase(found);
  touch(*node);
  return true;
}

Done MemoryFileSystem::list(Handle& directory, const std::function<void(const store::Entry&)>& visit) {
  std::vector<std::pair<std::string, store::Kind>> names;
  {
    const std::scoped_lock lock(mutex_);
    auto node = directory_of(directory);
    if (!node) return node.error();
    for (const auto& [name, child] : (*node)->entries)
      names.emplace_back(name, child->directory ? store::Kind::Directory : store::Kind::File);
  }
  for (const auto& [name, kind] : names) visit({name, kind});
  return done();
}

namespace {
template <class Node>
store::Stat stat_of(const Node& node) {
  return {node.data.size(), node.modified, node.nanoseconds,
          node.directory ? store::Kind::Directory : store::Kind::File};
}
}  // namespace

Result<store::Stat> MemoryFileSystem::stat(Handle& handle) {
  const std::scoped_lock lock(mutex_);
  auto node = node_of(handle);
  if (!node) return node.error();
  return stat_of(**node);
}

Result<std::optional<store::Stat>> MemoryFileSystem::stat(Handle& directory, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  const auto found = (*node)->entries.find(name);
  if (found == (*node)->entries.end()) return std::optional<store::Stat>();
  return std::optional(stat_of(*found->second));
}

Result<bool> MemoryFileSystem::read(Handle& directory, const std::string& name,
                                    const std::function<bool(std::string_view)>& visit) {
  std::string data;
  {
    const std::scoped_lock lock(mutex_);
    auto node = directory_of(directory);
    if (!node) return node.error();
    const auto found = (*node)->entries.find(name);
    if (found == (*node)->entries.end()) return false;
    data = found->second->data;
  }
  for (std::size_t at = 0; at < data.size(); at += 65536)
    if (!visit(std::string_view(data).substr(at, 65536))) break;
  return true;
}

Result<HandlePtr> MemoryFileSystem::try_lock(Handle& directory, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  auto node = directory_of(directory);
  if (!node) return node.error();
  auto& slot = (*node)->entries[name];
  if (!slot) {
    slot = std::make_shared<Node>();
    touch(*node);
  }
  if (slot->locked && slot->lock_life == life_) return HandlePtr();
  slot->locked = true;
  slot->lock_life = life_;
  auto handle = open(slot);
  static_cast<OpenNode&>(*handle).holds_lock = true;
  return handle;
}

}  // namespace mailhaul::test
