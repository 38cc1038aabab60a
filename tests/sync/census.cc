#include "tests/sync/census.h"

#include <algorithm>
#include <sstream>

namespace mailhaul::test {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) out.push_back(part);
  return out;
}

// "<seconds>.K<key>.mailhaul,S=<octets>,W=<octets>:2,<letters>"
void take_apart(CensusFile& file) {
  const auto colon = file.name.rfind(":2,");
  if (colon != std::string::npos) file.letters = file.name.substr(colon + 3);
  const auto dot = file.name.find(".K");
  if (dot == std::string::npos || file.name.substr(dot + 28, 10) != ".mailhaul,") return;
  file.key = file.name.substr(dot + 2, 26);
  file.seconds = std::stoll(file.name.substr(0, dot));
  for (const auto& field : split(file.name.substr(0, colon), ',')) {
    if (field.starts_with("S=")) file.disk = std::stoull(field.substr(2));
    if (field.starts_with("W=")) file.crlf = std::stoull(field.substr(2));
  }
}

void read_files(MemoryFileSystem& fs, const std::string& root, Census& out) {
  for (auto& [path, content] : fs.files())
    if (path.starts_with(root + "/")) out.everything[path.substr(root.size() + 1)] = content;
  std::map<std::string, store::HandlePtr> handles;
  for (const auto& [path, content] : out.everything) {
    if (path.ends_with('/') || path.starts_with("mailhaul/")) continue;
    const auto parts = split(path, '/');
    if (parts.size() < 2 || parts.size() > 3) continue;
    CensusFile file;
    file.directory = parts.size() == 3 ? parts[0] : "";
    file.part = parts[parts.size() - 2];
    file.name = parts.back();
    file.content = content;
    if (file.part != "cur" && file.part != "new") continue;
    take_apart(file);
    file.flags = flags_by_letters(file, out);
    const auto box = file.directory.empty() ? "" : file.directory + "/";
    auto& handle = handles[box + file.part];
    if (!handle)
      if (auto opened = fs.open_directory(root + "/" + box + file.part)) handle = *std::move(opened);
    if (!handle) {
      out.trouble = "cannot open " + box + file.part;
      continue;
    }
    if (auto stat = fs.stat(*handle, file.name); stat && *stat) file.modified = (*stat)->modified;
    out.files.push_back(std::move(file));
  }
}

Done read_rows(store::Ledger& ledger, const std::string& identity, Census& out) {
  auto accounts = ledger.accounts();
  if (!accounts) return accounts.error();
  for (const auto& account : *accounts) {
    if (!account.identity.starts_with(identity)) continue;
    auto boxes = ledger.mailboxes(account.id);
    if (!boxes) return boxes.error();
    std::map<std::pair<std::int64_t, std::uint32_t>, std::optional<std::uint64_t>> validities;
    for (auto& box : *boxes) {
      auto generations = ledger.generations(box.id);
      if (!generations) return generations.error();
      for (const auto& g : *generations)
        validities[{box.id.value, g.number}] = g.uid_validity ? std::optional(g.uid_validity->value) : std::nullopt;
      out.mailboxes.push_back(box);
    }
    auto walked =
        ledger.each_message(account.id, [&](const store::MailboxRow& box, std::uint32_t generation,
                                            const store::MessageRow& row, std::span<const store::PlacementRow> copies) {
          out.rows.push_back({box.raw_name,
                              box.destination,
                              validities[{box.id.value, generation}],
                              generation == box.generation,
                              row,
                              {copies.begin(), copies.end()}});
          return true;
        });
    if (!walked) return walked;
  }
  return done();
}

}  // namespace

mail::FlagSet flags_by_letters(const CensusFile& file, const Census& all) {
  static const std::map<char, const char*> kSystem{
      {'D', "\\Draft"}, {'F', "\\Flagged"}, {'R', "\\Answered"}, {'S', "\\Seen"}, {'T', "\\Deleted"}};
  const auto keywords = all.everything.find((file.directory.empty() ? "" : file.directory + "/") + "dovecot-keywords");
  std::map<char, std::string> names;
  if (keywords != all.everything.end())
    for (const auto& line : split(keywords->second, '\n')) {
      const auto blank = line.find(' ');
      if (blank != std::string::npos)
        names[static_cast<char>('a' + std::stoi(line.substr(0, blank)))] = line.substr(blank + 1);
    }
  mail::FlagSet flags;
  for (const char c : file.letters) {
    if (const auto it = kSystem.find(c); it != kSystem.end()) flags.add(it->second);
    if (const auto it = names.find(c); it != names.end()) flags.add(it->second);
  }
  return flags;
}

Census take_census(MemoryFileSystem& fs, const std::string& root, store::Ledger& ledger, const std::string& identity) {
  Census out;
  read_files(fs, root, out);
  if (auto r = read_rows(ledger, identity, out); !r) out.trouble = r.error().what;
  return out;
}

std::string to_text(const Census& census) {
  std::string out;
  for (const auto& box : census.mailboxes)
    out += "    " + box.raw_name + ": generation " + std::to_string(box.generation) + " UIDVALIDITY " +
           std::to_string(box.uid_validity.value_or(mail::UidValidity{}).value) + " floor " +
           std::to_string(box.floor.value) + " exists " + std::to_string(box.exists_seen.value_or(0)) + " modseq " +
           std::to_string(box.modseq.value_or(mail::ModSeq{}).value) + "\n";
  for (const auto& row : census.rows) {
    out += "    " + row.mailbox + " " + std::to_string(row.validity.value_or(0)) + "/" +
           std::to_string(row.row.uid.value) + " " + std::string(store::to_text(row.row.state)) + " base [" +
           row.row.base.wire() + "]" + (row.row.next_base ? " next [" + row.row.next_base->wire() + "]" : "") +
           " octets " + std::to_string(row.row.octets.value_or(0));
    for (const auto& copy : row.copies) out += " at " + store::to_text(copy.key);
    out += "\n";
  }
  for (const auto& file : census.files) {
    const auto id = file.content.substr(0, file.content.find('@'));
    out += "    " + file.directory + "/" + file.part + "/" + file.name + " [" + file.flags.wire() + "] " +
           std::to_string(file.content.size()) + " octets " + (id.size() < 30 ? id : "") + "\n";
  }
  return out;
}

std::string wire_of(const std::string& content, store::StoredForm form) {
  if (form == store::StoredForm::AsReceived) return content;
  std::string out;
  for (const char c : content) {
    if (c == '\n') out.push_back('\r');
    out.push_back(c);
  }
  return out;
}

}  // namespace mailhaul::test
