#include "collector/special_use.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "protocols/base/text.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::collector {
namespace {

using sync::SourceMailbox;

struct Use {
  const char* home;
  std::initializer_list<std::string_view> attributes;
  std::initializer_list<std::string_view> names;  // likeliest first
};

const std::array<Use, 5>& uses() {
  static const std::array<Use, 5> kUses{{
      {"Sent",
       {"\\Sent"},
       {"Sent",
        "Sent Items",
        "Sent Messages",
        "Sent Mail",
        "Gesendet",
        "Gesendete Elemente",
        "Gesendete Objekte",
        "Gesendete Nachrichten",
        "Envoyés",
        "Éléments envoyés",
        "Messages envoyés",
        "Enviados",
        "Elementos enviados",
        "Mensajes enviados",
        "Itens Enviados",
        "Itens enviados",
        "Enviadas",
        "Posta inviata",
        "Inviata",
        "Inviati",
        "Verzonden",
        "Verzonden items",
        "Verzonden berichten",
        "Wysłane",
        "Elementy wysłane",
        "Отправленные",
        "Надіслані",
        "Відправлені",
        "Odeslané",
        "Odeslaná pošta",
        "Odoslané",
        "Skickat",
        "Skickade objekt",
        "Sendt",
        "Sendte elementer",
        "Sendt post",
        "Lähetetyt",
        "Elküldött elemek",
        "Elküldött",
        "Trimise",
        "Gönderilmiş Öğeler",
        "Gönderilenler",
        "Απεσταλμένα",
        "送信済み",
        "送信済みアイテム",
        "送信済みメール",
        "已发送",
        "已发送邮件",
        "已傳送郵件",
        "寄件備份",
        "보낸 편지함",
        "보낸편지함",
        "보낸메일함"}},
      {"Drafts",
       {"\\Drafts"},
       {"Drafts",    "Draft",         "Entwürfe", "Brouillons",     "Borradores",  "Rascunhos",   "Bozze",
        "Concepten", "Kopie robocze", "Szkice",   "Wersje robocze", "Черновики",   "Чернетки",    "Koncepty",
        "Rozepsané", "Utkast",        "Kladder",  "Luonnokset",     "Piszkozatok", "Ciorne",      "Taslaklar",
        "Πρόχειρα",  "下書き",        "草稿",     "草稿箱",         "草稿匣",      "임시 보관함", "임시보관함"}},
      {"Junk",
       {"\\Junk", "\\Spam"},
       {"Junk",
        "Spam",
        "Junk E-mail",
        "Junk Email",
        "Junk Mail",
        "Bulk Mail",
        "Bulk",
        "Junk-E-Mail",
        "Spamverdacht",
        "Courrier indésirable",
        "Indésirables",
        "Pourriel",
        "Correo no deseado",
        "Lixo Eletrônico",
        "Lixo eletrónico",
        "Posta indesiderata",
        "Ongewenste e-mail",
        "Wiadomości-śmieci",
        "Niechciana poczta",
        "Спам",
        "Нежелательная почта",
        "Небажана пошта",
        "Nevyžádaná pošta",
        "Skräppost",
        "Uønsket post",
        "Søppelpost",
        "Roskaposti",
        "Levélszemét",
        "Gereksiz",
        "迷惑メール",
        "垃圾邮件",
        "垃圾郵件",
        "스팸",
        "스팸메일함",
        "정크 메일"}},
      {"Trash",
       {"\\Trash"},
       {"Trash",
        "Deleted Items",
        "Deleted Messages",
        "Deleted",
        "Bin",
        "Papierkorb",
        "Gelöscht",
        "Gelöschte Elemente",
        "Gelöschte Objekte",
        "Corbeille",
        "Éléments supprimés",
        "Messages supprimés",
        "Papelera",
        "Elementos eliminados",
        "Lixeira",
        "Lixo",
        "Itens Excluídos",
        "Cestino",
        "Posta eliminata",
        "Prullenbak",
        "Verwijderde items",
        "Kosz",
        "Elementy usunięte",
        "Корзина",
        "Удаленные",
        "Удалённые",
        "Кошик",
        "Видалені",
        "Koš",
        "Odstraněná pošta",
        "Papperskorgen",
        "Borttagna objekt",
        "Papirkurv",
        "Slettede elementer",
        "Slettet post",
        "Roskakori",
        "Poistetut",
        "Lomtár",
        "Törölt elemek",
        "Çöp",
        "Çöp Kutusu",
        "Silinmiş Öğeler",
        "ゴミ箱",
        "削除済みアイテム",
        "已删除",
        "已删除邮件",
        "刪除的郵件",
        "垃圾桶",
        "휴지통",
        "지운 편지함"}},
      {"Archive",
       {"\\Archive"},
       {"Archive", "Archives", "Archiv", "Archivo", "Arquivo", "Archivio", "Archief", "Archiwum", "Архив", "Архів",
        "Arkiv", "Arkisto", "Arşiv", "アーカイブ", "存档", "封存", "보관함"}},
  }};
  return kUses;
}

std::string joined(const std::vector<std::string>& path) {
  std::string out;
  for (const auto& part : path) out += '\0' + mail::collision_key(part);
  return out;
}

bool has_attribute(const SourceMailbox& mailbox, const Use& use) {
  return std::ranges::any_of(mailbox.attributes, [&](const std::string& attribute) {
    return std::ranges::any_of(use.attributes, [&](std::string_view a) { return equal_ignoring_case(a, attribute); });
  });
}

// Where programs keep such mailboxes: at the top, below INBOX, below Gmail's root.
bool is_outermost(const SourceMailbox& mailbox) {
  const auto& path = mailbox.path;
  return path.size() == 1 || (path.size() == 2 && (equal_ignoring_case(path[0], "INBOX") || path[0] == "[Gmail]" ||
                                                   path[0] == "[Google Mail]"));
}

std::size_t rank(const SourceMailbox& mailbox, const Use& use) {  // smaller is likelier
  const auto key = mail::collision_key(mailbox.path.back());
  std::size_t at = 0;
  for (const auto name : use.names) {
    if (mail::collision_key(name) == key) return at;
    ++at;
  }
  return at;
}

SourceMailbox* special(std::vector<SourceMailbox>& mailboxes, const Use& use) {
  SourceMailbox* best = nullptr;
  bool told = false;  // by an attribute
  for (auto& mailbox : mailboxes) {
    if (!mailbox.personal || !mailbox.selectable || mailbox.path.empty()) continue;
    const bool says = has_attribute(mailbox, use);
    if (!says && (told || !is_outermost(mailbox) || rank(mailbox, use) == use.names.size())) continue;
    if (best == nullptr || (says && !told) || rank(mailbox, use) < rank(*best, use)) best = &mailbox;
    told = told || says;
  }
  return best;
}

}  // namespace

void assign_homes(std::vector<SourceMailbox>& mailboxes) {
  std::set<std::string> names;
  for (const auto& mailbox : mailboxes) names.insert(joined(mailbox.path));
  for (const auto& use : uses()) {
    const auto* chosen = special(mailboxes, use);
    if (chosen == nullptr || chosen->path == std::vector<std::string>{use.home}) continue;
    if (names.contains(joined({use.home}))) continue;
    const auto path = chosen->path;
    for (auto& mailbox : mailboxes) {
      if (mailbox.path.size() < path.size() || !std::equal(path.begin(), path.end(), mailbox.path.begin())) continue;
      mailbox.home = {use.home};
      mailbox.home.insert(mailbox.home.end(), mailbox.path.begin() + static_cast<std::ptrdiff_t>(path.size()),
                          mailbox.path.end());
    }
  }
}

}  // namespace mailhaul::collector
