// Channels of the service: where people are told of what happens.
#include <algorithm>
#include <charconv>
#include <utility>

#include "collector/service/notices.h"
#include "collector/service/service.h"

namespace mailhaul::service {

using registry::ChannelRow;
using registry::Id;

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string every_topic() { return joined({kTopics.begin(), kTopics.end()}); }

notify::Place place_of(const ChannelRow& row, const Secret& secret) {
  return {static_cast<notify::Kind>(row.kind), row.url, row.sender, row.recipient, secret, row.allow_plaintext, row.ca};
}

constexpr std::size_t kKeyOctets = 32;  // of a webhook's secret

}  // namespace

ChannelView Service::view(const ChannelRow& row) {
  ChannelView out{row, !row.secret.empty(), name_of(row.owner), {}};
  out.row.secret.clear();
  return out;
}

Outcome<ChannelRow> Service::own_channel(const Viewer& viewer, Id id) {
  auto row = registry_->channel(id);
  if (!row) return row.error();
  if (!*row || (viewer.sees() != 0 && (*row)->owner != viewer.sees())) return not_found("there is no such channel");
  return **std::move(row);
}

Outcome<PageOf<ChannelView>> Service::channels(const Viewer& viewer, const PageRequest& request) {
  registry::Registry::Page page;
  page.owner = viewer.sees();
  page.limit = request.limit + 1;
  std::from_chars(request.cursor.data(), request.cursor.data() + request.cursor.size(), page.after);
  auto rows = registry_->channels(page);
  if (!rows) return rows.error();
  return page_of<ChannelView>(*rows, request.limit,
                              [this](const auto& row) -> Outcome<ChannelView> { return view(row); });
}

Outcome<ChannelView> Service::channel(const Viewer& viewer, Id id) {
  auto row = own_channel(viewer, id);
  if (!row) return row.refusal();
  return view(*row);
}

// What is said of a channel, checked; the secret is sealed by the caller.
Accepted Service::take(const Viewer& viewer, const ChannelChange& change, const Secret& secret, ChannelRow& row) const {
  if (change.name) row.name = *change.name;
  if (change.url) row.url = *change.url;
  if (change.from) row.sender = *change.from;
  if (change.to) row.recipient = *change.to;
  if (change.ca) row.ca = *change.ca;
  if (change.everyone) row.everyone = *change.everyone;
  if (change.allow_plaintext) row.allow_plaintext = *change.allow_plaintext;
  if (change.topics) {
    for (const auto& topic : *change.topics)
      if (std::ranges::find(kTopics, topic) == kTopics.end())
        return invalid("topics", "there is no topic '" + printable(topic) + "'", "There are: " + every_topic() + ".");
    std::vector<std::string> wanted;
    for (const auto topic : kTopics)
      if (std::ranges::find(*change.topics, topic) != change.topics->end()) wanted.emplace_back(topic);
    row.topics = joined(wanted);
  }
  if (row.everyone && viewer.role != registry::Role::Owner)
    return invalid("everyone", "only owners hear of everybody's jobs");
  if (!row.ca.empty() && row.ca.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    return invalid("ca", "these are no certificates", "Paste them in PEM form: -----BEGIN CERTIFICATE-----");
  if (auto fine = notify::check(place_of(row, secret)); !fine)
    return invalid("url", fine.error().what, fine.error().advice);
  if (row.name.empty()) row.name = notify::parse_url(row.url)->host;
  return accepted();
}

Outcome<ChannelView> Service::add_channel(const Viewer& viewer, notify::Kind kind, const ChannelChange& change) {
  ChannelRow row;
  row.owner = viewer.user;
  row.kind = static_cast<int>(kind);
  row.topics = every_topic();
  row.created = row.updated = clock_.unix_seconds();
  Secret secret = change.secret.value_or(Secret());
  std::string made;
  if (kind == notify::Kind::Webhook && secret.empty()) {
    made = "whsec_" + base64(registry::random_token(kKeyOctets));
    secret = Secret(std::string(made));
  }
  if (auto taken = take(viewer, change, secret, row); !taken) return taken.refusal();
  auto id = registry_->add(row, [&](Id fresh) -> Result<std::string> {
    if (secret.empty()) return std::string();
    return secrets_->seal(secret, place_of_channel_secret(fresh));
  });
  if (!id) return id.error();
  access_->note(viewer, "add channel", "channel " + std::to_string(*id));
  auto added = channel(viewer, *id);
  if (added) added->made_secret = std::move(made);
  return added;
}

Outcome<ChannelView> Service::change_channel(const Viewer& viewer, Id id, const ChannelChange& change,
                                             Version version) {
  auto row = own_channel(viewer, id);
  if (!row) return row.refusal();
  if (version && *version != row->version)
    return Refusal{Why::Stale, "somebody else has changed this channel", "Read it again."};
  Secret secret;
  if (change.secret) {
    secret = *change.secret;
  } else if (!row->secret.empty()) {
    auto opened = secrets_->open_sealed(row->secret, place_of_channel_secret(id));
    if (!opened) return opened.error();
    secret = *std::move(opened);
  }
  const auto before = *row;
  if (auto taken = take(viewer, change, secret, *row); !taken) return taken.refusal();
  // A secret goes only where its owner meant it to go.
  const bool elsewhere =
      row->url != before.url || row->ca != before.ca || row->allow_plaintext > before.allow_plaintext;
  if (elsewhere && !before.secret.empty() && !change.secret)
    return invalid("secret", "another place wants the secret again", "Give the secret together with this change.");
  if (change.secret) {
    row->secret.clear();
    if (!secret.empty()) {
      auto sealed = secrets_->seal(secret, place_of_channel_secret(id));
      if (!sealed) return sealed.error();
      row->secret = *std::move(sealed);
    }
  }
  row->updated = clock_.unix_seconds();
  if (auto updated = registry_->update(*row); !updated) return updated.error();
  access_->note(viewer, "change channel", "channel " + std::to_string(id));
  return channel(viewer, id);
}

Accepted Service::remove_channel(const Viewer& viewer, Id id) {
  auto row = own_channel(viewer, id);
  if (!row) return row.refusal();
  if (auto removed = registry_->remove_channel(id); !removed) return removed.error();
  access_->note(viewer, "remove channel", "channel " + std::to_string(id));
  return accepted();
}

Outcome<ChannelTrial> Service::try_channel(const Viewer& viewer, Id id) {
  auto row = own_channel(viewer, id);
  if (!row) return row.refusal();
  if (const auto wait = access_->limit("tell by " + std::to_string(viewer.user), 10, std::chrono::seconds(60)))
    return Refusal{Why::TooMany, "too many tests", "Wait a moment.", "", *wait};
  const Slow slow(slow_);
  if (!slow) return Slow::refusal();
  auto notice = trial_notice(clock_.unix_seconds());
  notice.key = new_message_id();
  const auto sent = notifier_->send(*row, notice, stopping_.get_token());
  if (sent) return ChannelTrial{true, {}, {}};
  return ChannelTrial{false, sent.error().what, sent.error().advice};
}

}  // namespace mailhaul::service
