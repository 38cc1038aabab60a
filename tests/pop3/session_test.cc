#include <doctest/doctest.h>

#include "tests/pop3/player.h"

using namespace mailhaul;
using namespace mailhaul::test;
using namespace mailhaul::pop3;

TEST_CASE("first lines: +OK, -ERR, response codes") {
  struct Row {
    const char* line;
    bool understood, ok;
    const char *code, *text;
  };
  const Row rows[] = {
      {"+OK", true, true, "", ""},
      {"+OK ready", true, true, "", "ready"},
      {"+ok ready", true, true, "", "ready"},
      {"-ERR", true, false, "", ""},
      {"-ERR [IN-USE] locked", true, false, "IN-USE", "locked"},
      {"-ERR [in-use] locked", true, false, "IN-USE", "locked"},
      {"-ERR [SYS/TEMP] later", true, false, "SYS/TEMP", "later"},
      {"-ERR [LOGIN-DELAY]", true, false, "LOGIN-DELAY", ""},
      {"-ERR [3 new] what", true, false, "", "[3 new] what"},
      {"-ERR [not a code] x", true, false, "", "[not a code] x"},
      {"-ERR [open", true, false, "", "[open"},
      {"-ERR [] x", true, false, "", "[] x"},
      {"+OKAY", true, true, "", "AY"},
      {"* OK IMAP", false, false, "", ""},
      {"", false, false, "", ""},
      {"+", false, false, "", ""},
  };
  for (const auto& row : rows) {
    INFO(row.line);
    Status status;
    CHECK(parse_status(row.line, status) == row.understood);
    if (!row.understood) continue;
    CHECK(status.ok == row.ok);
    CHECK(status.code == row.code);
    CHECK(status.text == row.text);
  }
}

TEST_CASE("messages: dots, line ends, and where they end") {
  struct Row {
    const char *wire, *message;
  };
  const Row rows[] = {
      {"a\r\n.\r\n", "a\r\n"},
      {".\r\n", ""},
      {"..\r\n.\r\n", ".\r\n"},
      {"...\r\n.\r\n", "..\r\n"},
      {"a\r\n..b\r\n.\r\n", "a\r\n.b\r\n"},
      {"a\r\n.b\r\n.\r\n", "a\r\n.b\r\n"},  // not doubled by the server: kept as it is
      {"a\r\n.\rb\r\n.\r\n", "a\r\n.\rb\r\n"},
      {"a\n.\nb\r\n.\r\n", "a\n.\nb\r\n"},  // a line ends with CRLF
      {"a\r\r\n.\r\n", "a\r\r\n"},
      {"a.\r\n.\r\n", "a.\r\n"},
      {"a\r\n.\n", "a\r\n"},  // 54: a sloppy end
      {"\r\n\r\n.\r\n", "\r\n\r\n"},
      {"a\r\n\r.\r\n.\r\n", "a\r\n\r.\r\n"},
  };
  for (const auto feeding : kFeedings)
    for (const auto& row : rows) {
      INFO(row.wire);
      Pop3Player player(feeding);
      player.enter();
      player.ask(Retr{1});
      CHECK(player.output() == "RETR 1\r\n");
      player.hear("+OK here\r\n" + std::string(row.wire));
      const std::string message = *row.message ? "<" + std::string(row.message) + ">\n" : "";
      CHECK(player.events == "+OK here\n" + message + "end\n");
      CHECK(player.error == "");
      CHECK(player.session.pending() == 0);
    }
}

TEST_CASE("octets that are no text go through a message unchanged") {
  std::string all;
  for (int i = 0; i < 4096; ++i) all += static_cast<char>((i * 31) % 256 == '\n' ? 'x' : (i * 31) % 256);
  for (const auto feeding : kFeedings) {
    Pop3Player player(feeding);
    player.enter();
    player.ask(Retr{1});
    (void)player.output();
    player.hear("+OK\r\n" + all + "\r\n.\r\n");
    CHECK(player.events == "+OK\n<" + all + "\r\n>\nend\n");
  }
}

TEST_CASE("a server that ends its lines with LF alone") {
  for (const auto feeding : kFeedings) {
    Pop3Player player(feeding);
    player.enter();
    player.ask(Retr{1});
    (void)player.output();
    player.hear("+OK\na\n..b\n.\n");
    CHECK(player.events == "+OK\n<a\n.b\n>\nend\n");
    player.events.clear();
    player.ask(Uidl{});
    CHECK(player.output() == "UIDL\r\n");
    player.hear("+OK\n1 abc\n.\n");
    CHECK(player.events == "+OK\n- 1 abc\nend\n");
  }
}

TEST_CASE("lists and single answers") {
  for (const auto feeding : kFeedings) {
    Pop3Player player(feeding);
    player.enter();
    player.ask(Stat{});
    player.ask(Uidl{});
    player.ask(List{2});
    player.ask(List{});
    player.ask(Dele{3});
    CHECK(player.output() == "STAT\r\n");  // one at a time
    CHECK(player.session.pending() == 5);
    player.hear("+OK 3 500\r\n");
    CHECK(player.output() == "UIDL\r\n");
    player.hear("+OK\r\n1 a b\r\n2 \r\n..x\r\n.\r\n");
    CHECK(player.output() == "LIST 2\r\n");
    player.hear("+OK 2 200\r\n");
    CHECK(player.output() == "LIST\r\n");
    player.hear("-ERR no\r\n");
    CHECK(player.output() == "DELE 3\r\n");
    player.hear("+OK gone\r\n");
    CHECK(player.events == "+OK 3 500\n+OK\n- 1 a b\n- 2 \n- .x\nend\n+OK 2 200\n-ERR no\n+OK gone\n");
    CHECK(player.session.pending() == 0);
  }
}

TEST_CASE("pipelining only where the server says so") {
  for (const auto feeding : kFeedings) {
    Pop3Player player(feeding);
    player.enter("PIPELINING\r\nUIDL\r\n");
    CHECK(player.session.pipelines());
    player.ask(Retr{1});
    player.ask(Retr{2});
    player.ask(Quit{});
    player.ask(Noop{});  // refused only once QUIT is answered, but never sent before that
    CHECK(player.output() == "RETR 1\r\nRETR 2\r\nQUIT\r\n");
    player.hear("+OK\r\none\r\n.\r\n-ERR [SYS/TEMP] no\r\n");
    CHECK(player.events == "+OK\n<one\r\n>\nend\n-ERR [SYS/TEMP] no\n");
    CHECK(player.output() == "");
  }
  Pop3Player careful(Feeding::Whole);
  careful.enter("PIPELINING\r\n");
  careful.session.lockstep();
  careful.ask(Retr{1});
  careful.ask(Retr{2});
  CHECK(careful.output() == "RETR 1\r\n");
  Pop3Player masked(Feeding::Whole);
  masked.session.mask("pipelining");
  masked.enter("PIPELINING\r\n");
  CHECK(!masked.session.has("PIPELINING"));
  masked.ask(Retr{1});
  masked.ask(Retr{2});
  CHECK(masked.output() == "RETR 1\r\n");
}

TEST_CASE("capabilities: words, arguments, case") {
  Pop3Player player(Feeding::Whole);
  player.enter("SASL PLAIN LOGIN\r\nexpire 0\r\nLOGIN-DELAY 900 USER\r\nTOP\r\n\r\n");
  CHECK(player.session.has("sasl"));
  CHECK(player.session.value_of("SASL") == "PLAIN LOGIN");
  CHECK(player.session.value_of("EXPIRE") == "0");
  CHECK(player.session.value_of("LOGIN-DELAY") == "900 USER");
  CHECK(player.session.value_of("TOP") == "");
  CHECK(!player.session.value_of("UIDL"));
  CHECK(!player.session.has("PLAIN"));
}

TEST_CASE("54: a lone dot in the middle of a message shows where the next answer should begin") {
  for (const auto feeding : kFeedings) {
    Pop3Player player(feeding);
    player.enter();
    player.ask(Retr{1});
    player.ask(Noop{});
    (void)player.output();
    player.hear("+OK\r\nfirst half\r\n.\r\n");
    CHECK(player.output() == "NOOP\r\n");
    player.hear("second half\r\n.\r\n+OK\r\n");
    CHECK(player.error.find("neither +OK nor -ERR") != std::string::npos);
    CHECK(player.session.out_of_step());
  }
}

TEST_CASE("what nobody asked for ends the connection") {
  Pop3Player idle(Feeding::Whole);
  idle.enter();
  idle.hear("-ERR [SYS/TEMP] autologout\r\n");
  CHECK(idle.error == "the server ended the connection: -ERR [SYS/TEMP] autologout");
  CHECK(!idle.session.out_of_step());
  Pop3Player eager(Feeding::Whole);
  eager.enter();
  eager.hear("+OK 3 messages\r\n");
  CHECK(eager.session.out_of_step());
  Pop3Player imap(Feeding::Whole);
  imap.hear("* OK IMAP4rev1\r\n");
  CHECK(imap.error == "this is not a POP3 server");
}

TEST_CASE("limits: lines, lists, messages") {
  Limits limits;
  limits.line = 100;
  limits.lines = 3;
  limits.body = 50;
  for (const auto feeding : kFeedings) {
    const auto fails = [&](const Command& command, const std::string& wire) {
      Pop3Player player(feeding, limits);
      player.enter();
      player.ask(command);
      (void)player.output();
      player.hear(wire);
      return player.error.find("limit of") != std::string::npos;
    };
    CHECK(fails(Stat{}, "+OK " + std::string(100, 'x') + "\r\n"));
    CHECK(!fails(Stat{}, "+OK " + std::string(90, 'x') + "\r\n"));
    CHECK(fails(Uidl{}, "+OK\r\n1 " + std::string(100, 'x')));
    CHECK(fails(Uidl{}, "+OK\r\n1 a\r\n2 b\r\n3 c\r\n4 d\r\n"));
    CHECK(!fails(Uidl{}, "+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n"));
    CHECK(fails(Retr{1}, "+OK\r\n" + std::string(51, 'x')));
    CHECK(!fails(Retr{1}, "+OK\r\n" + std::string(48, 'x') + "\r\n.\r\n"));
  }
}

TEST_CASE("no password without encryption, no line end in an argument, no command out of its state") {
  Pop3Player player(Feeding::Whole);
  CHECK(!player.session.submit(Capa{}));
  player.hear("+OK\r\n");
  CHECK(!player.session.submit(Pass{Secret("hunter2")}));
  CHECK(!player.session.submit(Auth{"PLAIN", Secret("x")}));
  CHECK(!player.session.submit(Stat{}));
  CHECK(!player.session.submit(User{"me\r\nDELE 1"}));
  CHECK(!player.session.submit(User{std::string("m\0e", 3)}));
  player.session.allow_cleartext();
  CHECK(!player.session.submit(Pass{Secret("hunter\n2")}));
  CHECK(!player.session.submit(Auth{"PLAIN\r\nX", Secret("x")}));
  CHECK(player.session.output() == "");
  CHECK(player.session.submit(Pass{Secret("hun ter2")}));
  CHECK(player.output() == "PASS hun ter2\r\n");
  player.hear("+OK\r\n");
  CHECK(!player.session.submit(User{"again"}));
  CHECK(!player.session.submit(Stls{}));
  CHECK(player.session.submit(Stat{}));
}

TEST_CASE("SASL: the response goes with the command, or at the challenge, however that is spelled") {
  for (const auto* challenge : {"+ \r\n", "+\r\n", "+OK go on\r\n"}) {
    Pop3Player player(Feeding::Octets);
    player.session.secure_from_start();
    player.hear("+OK\r\n");
    const std::string words(300, 'w');
    player.ask(Auth{"PLAIN", Secret(words)});
    CHECK(player.output() == "AUTH PLAIN\r\n");  // RFC 5034 §4: the line would be too long
    player.hear(challenge);
    CHECK(player.output() == base64(words) + "\r\n");
    player.hear("+OK in\r\n");
    CHECK(player.session.state() == State::Transaction);
  }
  Pop3Player player(Feeding::Whole);
  player.session.secure_from_start();
  player.hear("+OK\r\n");
  player.ask(Auth{"PLAIN", Secret("abc")});
  CHECK(player.output() == "AUTH PLAIN YWJj\r\n");
  player.hear("+ eyJzdGF0dXMiOiI0MDAifQ==\r\n");
  CHECK(player.events.ends_with("challenge\n"));
  player.session.respond(std::nullopt);
  CHECK(player.output() == "*\r\n");
  player.hear("-ERR [AUTH] no\r\n");
  CHECK(player.session.state() == State::Authorization);
}

TEST_CASE("STLS: what came before TLS is forgotten, what comes behind its answer is refused") {
  Pop3Player player(Feeding::Whole);
  player.hear("+OK\r\n");
  player.ask(Capa{});
  (void)player.output();
  player.hear("+OK\r\nX-EVIL\r\n.\r\n");
  CHECK(player.session.has("X-EVIL"));
  player.ask(Stls{});
  CHECK(player.output() == "STLS\r\n");
  player.ask(Capa{});
  player.hear("+OK go\r\n");
  CHECK(player.output() == "");
  CHECK(player.session.begin_tls());
  CHECK(!player.session.has("X-EVIL"));
  CHECK(player.session.secure());
  CHECK(!player.session.submit(Stls{}));

  for (const auto feeding : kFeedings) {
    Pop3Player injected(feeding);
    injected.hear("+OK\r\n");
    injected.ask(Stls{});
    (void)injected.output();
    injected.hear("+OK go\r\n+OK evil\r\n");
    CHECK(injected.error.find("injection") != std::string::npos);
    CHECK(!injected.session.begin_tls());
  }
}
