// POP3: what a server can write: unique-ids of every kind, and fields of a header that are meant for its own readers.
#include <map>

#include "tests/sync/pop3_scene.h"

using namespace mailhaul;
using namespace mailhaul::test;

TEST_CASE("59: POP3: odd unique-ids: over-long, with blanks, missing for some") {
  Pop3Scene scene;
  scene.deliver(6);
  auto it = scene.pop.messages.begin();
  (it++)->uidl = std::string(300, 'l');
  (it++)->uidl = std::string(3000, 'l');
  (it++)->uidl = std::string(3000, 'l') + "2";
  (it++)->uidl = "with some blanks";
  (it++)->uidl = "";
  CHECK(scene.clean().sum.delivered == 6);
  scene.check_whole();
  scene.pop.shuffled = true;
  scene.check_quiet();
}

TEST_CASE("cve_2018_14362: POP3: unique-ids are no paths") {
  Pop3Scene scene;
  const char* ids[] = {"..",    "../../../../etc/passwd", "/etc/passwd", "a/../../../b", "cur/x:2,S", ".",
                       "~root", "mailhaul/state.db"};
  scene.deliver(static_cast<int>(std::size(ids)));
  auto it = scene.pop.messages.begin();
  for (const auto* id : ids) (it++)->uidl = id;
  CHECK(scene.clean().sum.delivered == std::size(ids));
  scene.check_whole();
  scene.check_quiet();
  for (const auto& [path, content] : scene.fs.files()) CHECK_MESSAGE(path.starts_with("/home/"), path);
  for (const auto& file : scene.census().files) CHECK_MESSAGE(file.name.find("..") == std::string::npos, file.name);
}

TEST_CASE("POP3: flags of the Status fields where the user asks for them, none otherwise") {
  for (const bool asked : {false, true}) {
    Pop3Scene scene;
    for (const char* fields : {"", "Status: RO\r\n", "X-Status: AF\r\nStatus: R\r\n", "Status: O\r\nX-Status: D\r\n"})
      scene.pop.deliver("text\r\n").wire.insert(0, fields);
    scene.pop.deliver("Status: RO\r\nX-Status: F\r\n");  // in the body
    for (const auto& message : scene.pop.messages) scene.wanted.push_back(message.wire);
    scene.status_flags = asked;
    CHECK(scene.clean().sum.delivered == 5);
    scene.check_whole();
    std::map<std::string, std::string> letters;
    for (const auto& file : scene.census().files) {
      const auto at = file.content.find("Subject: ") + 9;
      letters[file.content.substr(at, 1)] = file.letters;
    }
    CHECK(letters == std::map<std::string, std::string>{
                         {"1", ""}, {"2", asked ? "S" : ""}, {"3", asked ? "FRS" : ""}, {"4", ""}, {"5", ""}});
    scene.check_quiet();
  }
}
