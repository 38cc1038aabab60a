#include "protocols/dav/multistatus.h"

#include <expat.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "protocols/base/text.h"

namespace mailhaul::dav {
namespace {

constexpr char kSeparator = '\n';  // between namespace and name; occurs in neither

enum class Tag : std::uint8_t {
  Other,
  Multistatus,
  Response,
  Href,
  Status,
  Propstat,
  Prop,
  SyncToken,
  Etag,
  DisplayName,
  Description,
  Color,
  Ctag,
  Principal,
  HomeSet,
  Length,
  ResourceType,
  Collection,
  Addressbook,
  ReportSet,
  SyncCollection,
  AddressData,
};

struct Name {
  std::string_view space, local;
  Tag tag;
};

constexpr std::string_view kDav = "DAV:", kCard = "urn:ietf:params:xml:ns:carddav";
constexpr std::array kNames{
    Name{kDav, "multistatus", Tag::Multistatus},
    Name{kDav, "response", Tag::Response},
    Name{kDav, "href", Tag::Href},
    Name{kDav, "status", Tag::Status},
    Name{kDav, "propstat", Tag::Propstat},
    Name{kDav, "prop", Tag::Prop},
    Name{kDav, "sync-token", Tag::SyncToken},
    Name{kDav, "getetag", Tag::Etag},
    Name{kDav, "displayname", Tag::DisplayName},
    Name{kDav, "current-user-principal", Tag::Principal},
    Name{kDav, "getcontentlength", Tag::Length},
    Name{kDav, "resourcetype", Tag::ResourceType},
    Name{kDav, "collection", Tag::Collection},
    Name{kDav, "supported-report-set", Tag::ReportSet},
    Name{kDav, "sync-collection", Tag::SyncCollection},
    Name{kCard, "addressbook", Tag::Addressbook},
    Name{kCard, "addressbook-description", Tag::Description},
    Name{kCard, "addressbook-home-set", Tag::HomeSet},
    Name{kCard, "address-data", Tag::AddressData},
    Name{"http://calendarserver.org/ns/", "getctag", Tag::Ctag},
    Name{"http://apple.com/ns/ical/", "calendar-color", Tag::Color},
    Name{"http://inf-it.com/ns/ab/", "addressbook-color", Tag::Color},
};

Tag tag_of(std::string_view name) {
  const auto cut = name.find(kSeparator);
  if (cut == name.npos) return Tag::Other;
  const auto space = name.substr(0, cut), local = name.substr(cut + 1);
  const auto* found = std::ranges::find_if(kNames, [&](const Name& n) { return n.local == local && n.space == space; });
  return found == kNames.end() ? Tag::Other : found->tag;
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto from = text.find_first_not_of(kBlank);
  return from == text.npos ? "" : std::string(text.substr(from, text.find_last_not_of(kBlank) - from + 1));
}

// "HTTP/1.1 404 Not Found" → 404
int status_of(std::string_view line) {
  const auto blank = line.find(' ');
  int status = 0;
  if (blank != line.npos)
    (void)std::from_chars(line.data() + blank + 1, line.data() + std::min(line.size(), blank + 4), status);
  return status;
}

Error broken(std::string what) {
  return {Scope::Account, Retry::Later, "the server's answer cannot be read: " + std::move(what), ""};
}

// What a 2xx propstat adds to its response.
void take_over(Member& to, Member&& from) {
  const auto take = [](std::string& into, std::string& out) {
    if (!out.empty()) into = std::move(out);
  };
  take(to.etag, from.etag);
  take(to.display_name, from.display_name);
  take(to.description, from.description);
  take(to.color, from.color);
  take(to.ctag, from.ctag);
  take(to.sync_token, from.sync_token);
  take(to.principal, from.principal);
  std::ranges::move(from.home_sets, std::back_inserter(to.home_sets));
  if (from.octets) to.octets = from.octets;
  to.collection |= from.collection;
  to.addressbook |= from.addressbook;
  to.reports_sync |= from.reports_sync;
  if (from.card) to.card = std::move(from.card);
  to.too_long |= from.too_long;
}

}  // namespace

struct MultistatusReader::Impl {
  Impl(std::function<Done(Member&&)> to, std::size_t limit) : deliver(std::move(to)), card_limit(limit) {}
  std::function<Done(Member&&)> deliver;
  std::size_t card_limit;
  std::unique_ptr<XML_ParserStruct, void (*)(XML_Parser)> parser{nullptr, XML_ParserFree};
  std::vector<Tag> path;
  Member member, found;  // the response, and what its propstat has brought so far
  int propstat_status = 0;
  std::string text, token;
  std::optional<Error> error;
  bool is_broken = false;

  [[nodiscard]] Tag at(std::size_t up) const { return up < path.size() ? path[path.size() - 1 - up] : Tag::Other; }
  void fail(std::string what) {
    if (!error) error = broken(std::move(what));
    is_broken = true;
    XML_StopParser(parser.get(), XML_FALSE);
  }
  void begin(std::string_view name);
  void end();
  void end_of_property(Tag tag, Tag parent);
  void characters(std::string_view piece);
  Done parse(std::string_view octets, bool last);
};

void MultistatusReader::Impl::begin(std::string_view name) {
  const Tag tag = tag_of(name);
  if (path.size() >= kDepth) return fail("too many elements within each other");
  if (path.empty() && tag != Tag::Multistatus) return fail("it is no multistatus");
  path.push_back(tag);
  text.clear();
  if (tag == Tag::Response) member = {};
  if (tag == Tag::Propstat) {
    found = {};
    propstat_status = 0;
  }
  if (tag == Tag::AddressData && at(1) == Tag::Prop) found.card.emplace();
}

void MultistatusReader::Impl::characters(std::string_view piece) {
  const bool is_card = at(0) == Tag::AddressData && found.card;
  std::string& to = is_card ? *found.card : text;
  if (is_card && found.too_long) return;
  // XML 1.0 §2.11 makes one LF of a CR LF in the document; a card has its line ends as they were sent (RFC 6350 §3.2).
  // expat tells each line end by itself, and how many octets it had.
  if (is_card && piece == "\n" && XML_GetCurrentByteCount(parser.get()) == 2) piece = "\r\n";
  if (to.size() + piece.size() > (is_card ? card_limit : kText)) {
    if (!is_card) return fail("a property is too long");
    found.too_long = true;
    to.clear();
    to.shrink_to_fit();
    return;
  }
  to.append(piece);
}

void MultistatusReader::Impl::end_of_property(Tag tag, Tag parent) {
  if (parent == Tag::ResourceType) {
    found.collection |= tag == Tag::Collection;
    found.addressbook |= tag == Tag::Addressbook;
  }
  if (tag == Tag::Href && parent == Tag::Principal) found.principal = trimmed(text);
  if (tag == Tag::Href && parent == Tag::HomeSet) found.home_sets.push_back(trimmed(text));
  if (tag == Tag::SyncCollection && std::ranges::find(path, Tag::ReportSet) != path.end()) found.reports_sync = true;
  if (parent != Tag::Prop) return;
  if (tag == Tag::Etag) found.etag = trimmed(text);
  if (tag == Tag::DisplayName) found.display_name = trimmed(text);
  if (tag == Tag::Description) found.description = trimmed(text);
  if (tag == Tag::Color) found.color = trimmed(text);
  if (tag == Tag::Ctag) found.ctag = trimmed(text);
  if (tag == Tag::SyncToken) found.sync_token = trimmed(text);
  if (tag == Tag::Length) {
    const auto digits = trimmed(text);
    std::uint64_t octets = 0;
    if (const auto [stop, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), octets);
        bad == std::errc{} && stop == digits.data() + digits.size())
      found.octets = octets;
  }
}

void MultistatusReader::Impl::end() {
  const Tag tag = at(0), parent = at(1);
  path.pop_back();
  if (tag == Tag::Href && parent == Tag::Response && member.href.empty()) member.href = trimmed(text);
  if (tag == Tag::Status && parent == Tag::Response) member.status = status_of(trimmed(text));
  if (tag == Tag::Status && parent == Tag::Propstat) propstat_status = status_of(trimmed(text));
  if (tag == Tag::SyncToken && parent == Tag::Multistatus) token = trimmed(text);
  end_of_property(tag, parent);
  if (tag == Tag::Propstat && parent == Tag::Response && propstat_status / 100 == 2)
    take_over(member, std::move(found));
  if (tag == Tag::Response && parent == Tag::Multistatus) {
    if (const Done taken = deliver(std::move(member)); !taken) {
      error = taken.error();
      XML_StopParser(parser.get(), XML_FALSE);
    }
  }
  text.clear();
}

Done MultistatusReader::Impl::parse(std::string_view octets, bool last) {
  if (error) return *error;
  if (!parser) return broken("no memory for it");
  constexpr std::size_t kPiece = 1 << 20;  // XML_Parse counts in int
  do {
    const auto piece = octets.substr(0, kPiece);
    octets.remove_prefix(piece.size());
    const auto status =
        XML_Parse(parser.get(), piece.data(), static_cast<int>(piece.size()), last && octets.empty() ? 1 : 0);
    if (status != XML_STATUS_OK && !error) {
      is_broken = true;
      error = broken(XML_ErrorString(XML_GetErrorCode(parser.get())));
    }
    if (error) return *error;
  } while (!octets.empty());
  return done();
}

MultistatusReader::MultistatusReader(std::function<Done(Member&&)> member, std::size_t card_limit)
    : impl_(new Impl(std::move(member), card_limit)) {
  impl_->parser.reset(XML_ParserCreateNS(nullptr, kSeparator));
  const XML_Parser parser = impl_->parser.get();
  if (parser == nullptr) return;
  XML_SetUserData(parser, impl_.get());
  XML_SetElementHandler(
      parser,
      [](void* self, const XML_Char* name, const XML_Char**) {
        if (auto& impl = *static_cast<Impl*>(self); !impl.error) impl.begin(name);
      },
      [](void* self, const XML_Char*) {
        if (auto& impl = *static_cast<Impl*>(self); !impl.error) impl.end();
      });
  XML_SetCharacterDataHandler(parser, [](void* self, const XML_Char* text, int length) {
    if (auto& impl = *static_cast<Impl*>(self); !impl.error) impl.characters({text, static_cast<std::size_t>(length)});
  });
  XML_SetStartDoctypeDeclHandler(parser, [](void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
    static_cast<Impl*>(self)->fail("it has a document type");  // RFC 4918 §20.6: where XML bombs come from
  });
}
MultistatusReader::~MultistatusReader() = default;

Done MultistatusReader::feed(std::string_view octets) { return octets.empty() ? done() : impl_->parse(octets, false); }
Done MultistatusReader::finish() { return impl_->parse({}, true); }
bool MultistatusReader::is_broken() const { return impl_->is_broken; }
const std::string& MultistatusReader::sync_token() const { return impl_->token; }

bool names_precondition(std::string_view body, std::string_view element) {
  // Wherever a tag of this name begins: error bodies are short, and a false alarm costs one more listing.
  for (auto at = body.find(element); at != body.npos; at = body.find(element, at + 1)) {
    const char before = at == 0 ? ' ' : body[at - 1];
    if (before == '<' || before == ':') return true;
  }
  return false;
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

}  // namespace mailhaul::dav
