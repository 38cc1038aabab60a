#include "collector/contacts/delivery.h"

namespace mailhaul::contacts {
namespace {

using store::CardRow;
using store::CardState;

constexpr std::size_t kCards = 500;
constexpr std::uint64_t kOctets = 16 << 20;

}  // namespace

Result<Delivery> Batch::decide(CardRow& row, const std::string& file, const mail::Sha256Digest& fetched) {
  if (row.file.empty()) row.file = file;
  auto here = vdir_.digest_of(row.file);
  if (!here) return here.error();
  return delivery_of(row.sha256, fetched, *here, row.removed);
}

void Batch::settle(CardRow& row, const std::string& etag, const mail::Sha256Digest& digest, std::uint64_t octets,
                   const std::string& file) {
  row.state = CardState::Delivered;
  row.etag = row.wanted = etag.empty() ? row.wanted : etag;
  row.sha256 = digest;
  row.octets = octets;
  row.file = file;
  row.reason.clear();
  row.attempts = 0;
  row.next_try = row.missing_since = 0;
  row.removed = false;
  row.next_etag.clear();
  row.next_sha256.reset();
  row.next_file.clear();
  row.next_octets = 0;
}

Done Batch::add(CardRow& row, const std::string& file, const Card& card) {
  const auto digest = mail::Sha256::of(card.octets);
  auto delivery = decide(row, file, digest);
  if (!delivery) return delivery.error();
  if (*delivery == Delivery::Settle || *delivery == Delivery::Adopt) {
    settle(row, card.etag, digest, card.octets.size(), row.file);
    settled_.push_back(row);
    return settled_.size() + items_.size() >= kCards ? flush() : done();
  }
  if (auto begun = vdir_.begin(); !begun) return begun;
  if (auto written = vdir_.write(card.octets); !written) {
    vdir_.abandon();
    return written;
  }
  auto staged = vdir_.end();
  if (!staged) return staged.error();
  return put_in_place(row, file, card.etag, *staged, *delivery);
}

Done Batch::add(CardRow& row, const std::string& file, const std::string& etag, const store::VdirBook::Staged& staged) {
  auto delivery = decide(row, file, staged.sha256);
  if (!delivery) return delivery.error();
  if (*delivery != Delivery::Settle && *delivery != Delivery::Adopt)
    return put_in_place(row, file, etag, staged, *delivery);
  settle(row, etag, staged.sha256, staged.octets, row.file);
  settled_.push_back(row);
  return vdir_.discard(staged);
}

Done Batch::put_in_place(CardRow& row, const std::string& file, const std::string& etag,
                         const store::VdirBook::Staged& staged, Delivery delivery) {
  std::string to = row.file;
  if (delivery == Delivery::KeepBoth) {
    to = second_file_of(file, staged.sha256);
    auto here = vdir_.digest_of(to);
    if (!here) return here.error();
    if (*here == staged.sha256) {  // from an earlier run, whose state was lost
      row.kept_both = true;
      settle(row, etag, staged.sha256, staged.octets, to);
      settled_.push_back(row);
      return vdir_.discard(staged);
    }
    report_.conflicts.push_back(row.file + " " + to);
    row.kept_both = true;
  }
  row.next_etag = etag.empty() ? row.wanted : etag;
  row.next_sha256 = staged.sha256;
  row.next_file = to;
  row.next_octets = staged.octets;
  items_.push_back({&row, {staged.name, to, delivery == Delivery::Replace}, file});
  octets_ += staged.octets;
  return items_.size() + settled_.size() >= kCards || octets_ >= kOctets ? flush() : done();
}

Done Batch::flush() {
  if (!items_.empty()) {
    std::vector<CardRow> said;
    std::vector<store::VdirBook::Placing> placings;
    for (const auto& item : items_) {
      said.push_back(*item.row);
      placings.push_back(item.placing);
    }
    if (auto ok = ledger_.put(book_, said); !ok) return ok;
    auto placed = vdir_.place(placings);
    if (!placed) return placed.error();
    for (std::size_t i = 0; i < items_.size(); ++i) {
      CardRow& row = *items_[i].row;
      if (!(*placed)[i]) {  // a file of this name has come meanwhile: the next run sees whose it is
        row.next_file.clear();
        row.next_sha256.reset();
        row.next_etag.clear();
        settled_.push_back(row);
        continue;
      }
      ++report_.delivered;
      report_.bytes += row.next_octets;
      settle(row, std::string(row.next_etag), mail::Sha256Digest(*row.next_sha256), row.next_octets,
             std::string(row.next_file));
      settled_.push_back(row);
    }
  }
  if (auto ok = ledger_.put(book_, settled_); !ok) return ok;
  items_.clear();
  settled_.clear();
  octets_ = 0;
  return done();
}

}  // namespace mailhaul::contacts
