#include "collector/verify.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "collector/collect.h"
#include "collector/progress.h"
#include "collector/sync/key.h"
#include "collector/sync/names.h"

namespace mailhaul::collector {
namespace {

using mail::Uid;
using mail::UidSet;
using store::MessageState;

constexpr std::size_t kWindow = 4096;

std::string joined(const std::vector<std::string>& path) {
  std::string out;
  for (const auto& component : path) out += (out.empty() ? "" : "/") + component;
  return out;
}

// Hashes what the source sends and writes nothing.
class Hashing final : public sync::Receiver {
 public:
  Done begin(std::size_t, std::optional<Uid>, std::uint64_t) override {
    hash_.reset();
    octets_ = 0;
    return done();
  }
  Done octets(std::string_view chunk) override {
    hash_.update(chunk);
    octets_ += chunk.size();
    return done();
  }
  Done end() override {
    digest_ = hash_.finish();
    return done();
  }
  Done message(std::size_t, const sync::FetchedMessage& message) override {
    if (message.uid && message.body) digests[*message.uid] = {digest_, octets_};
    return done();
  }
  Done answered(const sync::FetchSlice&, const std::string&) override { return done(); }
  Done lost(const sync::FetchSlice&, const Error&) override { return done(); }

  std::map<Uid, std::pair<mail::Sha256Digest, std::uint64_t>> digests;

 private:
  mail::Sha256 hash_;
  mail::Sha256Digest digest_{};
  std::uint64_t octets_ = 0;
};

class Verifier {
 public:
  Verifier(Workplace& place, sync::Source& source, bool deep, std::stop_token stop)
      : place_(place), source_(source), deep_(deep), stop_(std::move(stop)) {}

  Done mailbox(const sync::SourceMailbox& mailbox, const store::MailboxRow& row);
  void differ(Uid uid, std::string what) { out.differences.push_back({current_->name, uid.value, std::move(what)}); }
  void missing(const std::string& name, std::string what) { out.differences.push_back({name, 0, std::move(what)}); }

  Verification out;

 private:
  Done window(const sync::SourceMailbox& mailbox, const store::MailboxRow& row, const sync::MailboxView& view,
              const UidSet& uids);
  Done compare_copy(const store::MailboxRow& row, const store::MessageRow& message, const store::FoundCopy& copy,
                    const Hashing& hashing);

  Workplace& place_;
  sync::Source& source_;
  bool deep_;
  std::stop_token stop_;
  VerifiedMailbox* current_ = nullptr;
};

Done Verifier::mailbox(const sync::SourceMailbox& mailbox, const store::MailboxRow& row) {
  current_ = &out.mailboxes.emplace_back();
  current_->name = joined(mailbox.path);
  sync::ObserveRequest request;
  request.raw_name = mailbox.raw_name;
  auto views = source_.observe(std::span(&request, 1));
  if (!views) return views.error();
  const auto& view = views->front();
  if (view.error) {
    differ(Uid{0}, view.error->what);
    return done();
  }
  current_->at_source = view.exists;
  if (view.present.size() != view.exists)
    differ(Uid{0}, "the server says " + std::to_string(view.exists) + " messages and lists " +
                       std::to_string(view.present.size()));
  constexpr MessageState kAlive[] = {MessageState::Listed, MessageState::Delivered, MessageState::Excluded,
                                     MessageState::Failed};
  auto known = place_.ledger->uids(row.id, row.generation, kAlive);
  if (!known) return known.error();
  if (view.exists == 0 && known->empty())
    return done();  // UW and GNU give an empty mailbox another UIDVALIDITY each time
  if (view.validity != row.uid_validity) {
    differ(Uid{0}, "the server's UIDVALIDITY is not the ledger's: run collect again");
    return done();
  }
  view.present.minus(*known).each([&](Uid uid) { differ(uid, "on the server, not in the ledger"); });
  known->minus(view.present).each([&](Uid uid) { differ(uid, "in the ledger, no longer on the server"); });
  for (auto rest = known->intersect(view.present); !rest.empty() && !stop_.stop_requested();)
    if (auto r = window(mailbox, row, view, rest.take_front(kWindow, SIZE_MAX)); !r) return r;
  return done();
}

Done Verifier::window(const sync::SourceMailbox& mailbox, const store::MailboxRow& row, const sync::MailboxView& view,
                      const UidSet& uids) {
  const Uid first{uids.ranges().front().first}, last = *uids.highest();
  auto rows = place_.ledger->messages(row.id, row.generation, first, last, SIZE_MAX >> 1);
  if (!rows) return rows.error();
  auto placements = place_.ledger->placements(row.id, row.generation, first, last);
  if (!placements) return placements.error();
  std::vector<store::DeliveryKey> keys;
  for (const auto& placement : *placements) keys.push_back(placement.key);
  std::ranges::sort(keys);
  auto found = place_.destination->look(row.destination, keys);
  if (!found) return found.error();
  std::ranges::sort(*found, {}, [](const store::FoundCopy& c) { return c.name.key; });
  Hashing hashing;
  if (deep_) {
    sync::FetchQueue queue;
    queue.add({0, mailbox.raw_name, view.validity, uids});
    if (auto r = source_.fetch(queue, hashing); !r) return r;
  }
  auto placement = placements->begin();
  for (const auto& message : *rows) {
    if (!uids.contains(message.uid)) continue;
    ++current_->in_ledger;
    if (message.state != MessageState::Delivered) {
      if (message.state != MessageState::Excluded)
        differ(message.uid,
               std::string(store::to_text(message.state)) + (message.reason.empty() ? "" : ": " + message.reason));
      continue;
    }
    while (placement != placements->end() && placement->uid < message.uid) ++placement;
    if (placement == placements->end() || placement->uid != message.uid) {
      differ(message.uid, "delivered, but the ledger does not say where");
      continue;
    }
    const auto copy =
        std::ranges::lower_bound(*found, placement->key, {}, [](const store::FoundCopy& c) { return c.name.key; });
    if (copy == found->end() || copy->name.key != placement->key) {
      differ(message.uid, "was delivered, and its file is no longer there");
      continue;
    }
    ++current_->at_destination;
    if (auto r = compare_copy(row, message, *copy, hashing); !r) return r;
  }
  return done();
}

Done Verifier::compare_copy(const store::MailboxRow& row, const store::MessageRow& message,
                            const store::FoundCopy& copy, const Hashing& hashing) {
  mail::Sha256 hash;
  std::uint64_t octets = 0;
  const auto read = [&] {
    return place_.destination->read(row.destination, copy, message.form, [&](std::string_view chunk) {
      if (deep_) hash.update(chunk);
      octets += chunk.size();
      return true;
    });
  };
  if (!deep_) {  // sizes only: of the file against its name and the ledger
    auto size = place_.destination->size_of(row.destination, copy);
    if (!size) return size.error();
    if (*size != copy.name.disk_octets)
      differ(message.uid, "the file has " + std::to_string(*size) + " octets, its name says " +
                              std::to_string(copy.name.disk_octets));
    const auto wire = message.form == store::StoredForm::Lf ? copy.name.crlf_octets : copy.name.disk_octets;
    if (message.octets != wire)
      differ(message.uid, "the ledger has " + std::to_string(message.octets.value_or(0)) + " octets, the file " +
                              std::to_string(wire));
    return done();
  }
  if (auto r = read(); !r) return r;
  ++current_->compared;
  current_->octets += octets;
  const auto local = hash.finish();
  const auto remote = hashing.digests.find(message.uid);
  if (message.sha256 != local) differ(message.uid, "the file's octets are not those that were delivered");
  if (remote == hashing.digests.end())
    differ(message.uid, "the server did not send it again");
  else if (remote->second.first != local)
    differ(message.uid, "the server sends " + std::to_string(remote->second.second) +
                            " octets that differ from the file's " + std::to_string(octets));
  return done();
}

}  // namespace

Result<Verification> verify(const Job& job, bool deep, const sync::EventSink& events, const std::stop_token& stop) {
  auto source = source_factory(job, stop, events)();
  if (!source) return source.error();
  auto place = open_workplace(job, false);
  if (!place) return place.error();
  if (!place->destination || !place->ledger)
    return Error{Scope::Service, Retry::AfterUserAction,
                 "nothing has been collected into " + (job.account ? job.account->text() : job.maildir) + " yet",
                 "run mailhaul collect first"};
  auto account = sync::find_account(*place->destination, *place->ledger, job.source.identity());
  if (!account) return account.error();
  auto rows = place->ledger->mailboxes(account->id);
  if (!rows) return rows.error();
  auto mailboxes = (*source)->mailboxes();
  if (!mailboxes) return mailboxes.error();
  Verifier verifier(*place, **source, deep, stop);
  for (const auto& mailbox : *mailboxes) {
    if (!mailbox.selectable || mailbox.aside) continue;
    if (!job.rules.wants(mailbox)) {
      verifier.out.left_out.push_back(joined(mailbox.path));
      continue;
    }
    if (stop.stop_requested()) break;
    const auto row = std::ranges::find(*rows, mailbox.raw_name, &store::MailboxRow::raw_name);
    if (row == rows->end()) {
      verifier.missing(joined(mailbox.path), "on the server, never collected");
      continue;
    }
    sync::Names names(place->ledger.get(), system_clock(), true);
    if (mailbox.named) {
      names.bind(*row);
      (*source)->use(names);
    }
    if (auto r = verifier.mailbox(mailbox, *row); !r) {
      if (stop.stop_requested()) break;
      return r.error();
    }
  }
  verifier.out.stopped = stop.stop_requested();
  return std::move(verifier.out);
}

std::string verification_text(const Verification& v, bool deep) {
  std::string out;
  VerifiedMailbox sum;
  for (const auto& m : v.mailboxes) {
    sum.at_source += m.at_source;
    sum.at_destination += m.at_destination;
    sum.compared += m.compared;
    sum.octets += m.octets;
  }
  for (const auto& d : v.differences)
    out += printable(d.mailbox) + (d.uid ? " UID " + std::to_string(d.uid) : "") + ": " + d.what + "\n";
  out += std::to_string(v.mailboxes.size()) + " mailboxes: " + std::to_string(sum.at_source) +
         " messages at the source, " + std::to_string(sum.at_destination) + " at the destination";
  if (deep) out += ", " + std::to_string(sum.compared) + " compared octet by octet (" + human_octets(sum.octets) + ")";
  out += v.differences.empty() ? "; no difference\n" : "; " + std::to_string(v.differences.size()) + " differences\n";
  return out;
}

std::string verification_json(const Verification& v, bool deep) {
  nlohmann::json out{{"event", "verification"},
                     {"deep", deep},
                     {"stopped", v.stopped},
                     {"same", v.differences.empty() && !v.stopped},
                     {"mailboxes", nlohmann::json::array()},
                     {"differences", nlohmann::json::array()}};
  for (const auto& m : v.mailboxes)
    out["mailboxes"].push_back({{"mailbox", m.name},
                                {"source", m.at_source},
                                {"ledger", m.in_ledger},
                                {"destination", m.at_destination},
                                {"compared", m.compared},
                                {"bytes", m.octets}});
  for (const auto& d : v.differences)
    out["differences"].push_back({{"mailbox", d.mailbox}, {"uid", d.uid}, {"what", d.what}});
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace mailhaul::collector
