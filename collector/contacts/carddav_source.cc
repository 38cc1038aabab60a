#include "collector/contacts/source.h"
#include "protocols/base/text.h"
#include "protocols/dav/href.h"

namespace mailhaul::contacts {
namespace {

class CardDavSource final : public CardSource {
 public:
  CardDavSource(const dav::Settings& settings, std::stop_token stop) : client_(settings, std::move(stop)) {
    const auto origin = dav::origin_of(settings.url);
    identity_ = "carddav:" + settings.user + "@" + (origin ? origin->text() : settings.url);
  }
  [[nodiscard]] std::string identity() const override { return identity_; }
  Result<std::vector<Book>> books(const std::string& home) override { return client_.books(home); }
  [[nodiscard]] std::string home() const override { return client_.home(); }
  [[nodiscard]] std::string path_of(const Book& book) const override { return dav::path_of(book.url); }
  Result<Changes> changes(const Book& book, const std::string& token) override { return client_.changes(book, token); }
  Done fetch(const Book& book, std::span<const Listed* const> cards, const std::function<Done(Card&&)>& card) override {
    return client_.multiget(book, cards, card);
  }
  Result<bool> get(const Listed& card, const std::function<Done(std::string_view)>& octets) override {
    return client_.get(card.url, octets);
  }
  [[nodiscard]] std::size_t requests() const override { return client_.requests(); }

 private:
  dav::CardDav client_;
  std::string identity_;
};

}  // namespace

std::unique_ptr<CardSource> carddav_source(const dav::Settings& settings, std::stop_token stop) {
  return std::make_unique<CardDavSource>(settings, std::move(stop));
}

}  // namespace mailhaul::contacts
