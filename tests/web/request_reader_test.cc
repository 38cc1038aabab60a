#include "web/request_reader.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

namespace mailhaul::web {
namespace {

using State = RequestReader::State;

struct Outcome {
  State state = State::More;
  std::vector<RawRequest> requests;
  RequestReader::Refused refused;
};

// Feeds the octets in pieces of `step`.
Outcome feed(const std::string& octets, std::size_t step, const ReadLimits& limits = {}) {
  RequestReader reader(limits);
  Outcome out;
  std::string input;
  for (std::size_t at = 0; at < octets.size(); at += step) {
    input.append(octets, at, step);
    for (;;) {
      out.state = reader.read(input);
      if (out.state == State::Continue) continue;
      if (out.state == State::Refused) {
        out.refused = reader.refused();
        return out;
      }
      if (out.state == State::More) break;
      out.requests.push_back(reader.take());
      if (input.empty()) break;
    }
  }
  return out;
}

constexpr char kGet[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_CASE("requests come whole, in whatever pieces they arrive") {
  const std::string octets =
      std::string(kGet) + "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" +
      "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + kGet;
  for (const std::size_t step : {1, 2, 3, 7, 50, 10'000}) {
    const auto out = feed(octets, step);
    REQUIRE(out.requests.size() == 4);
    CHECK(out.requests[0].target == "/a");
    CHECK(out.requests[1].body == "hello");
    CHECK(out.requests[2].body == "abcde");
    // What the library sees is never chunked.
    CHECK(out.requests[2].head == "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n");
    CHECK(out.requests[3].method == "GET");
  }
}

TEST_CASE("what is ambiguous or endless is refused") {
  struct Row {
    const char* why;
    std::string octets;
    int status;
  };
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\n";
  const Row rows[] = {
      {"two lengths", head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
      {"a length and chunks", head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"chunks and a length", head + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
      {"two encodings", head + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400},
      {"a negative length", head + "Content-Length: -1\r\n\r\n", 400},
      {"a length with a sign", head + "Content-Length: +1\r\n\r\n", 400},
      {"a list of lengths", head + "Content-Length: 1, 1\r\n\r\n", 400},
      {"a large body", head + "Content-Length: 1048577\r\n\r\n", 413},
      {"a large chunk", head + "Transfer-Encoding: chunked\r\n\r\n100001\r\n", 413},
      {"a chunk without a length", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"a chunk of another length", head + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc", 400},
      {"trailers", head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", 400},
      {"compressed", head + "Content-Encoding: gzip\r\n\r\n", 415},
      {"a folded field", head + "X: a\r\n b\r\n\r\n", 400},
      {"a space before the colon", head + "X : a\r\n\r\n", 400},
      {"a bare CR", head + "X: a\rb\r\n\r\n", 400},
      {"a NUL", head + std::string("X: a\0b\r\n\r\n", 10), 400},
      {"two hosts", head + "Host: y\r\n\r\n", 400},
      {"no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 400},
      {"HTTP/1.0", "GET / HTTP/1.0\r\nHost: x\r\n\r\n", 505},
      {"no version", "GET /\r\nHost: x\r\n\r\n", 400},
      {"another scheme of address", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a control character in the address", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"a long address", "GET /" + std::string(5000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
      {"an endless address", "GET /" + std::string(5000, 'a'), 414},
      {"a long field", head + "X: " + std::string(9000, 'a') + "\r\n\r\n", 431},
      {"an endless header section", head + std::string(70'000, 'a'), 431},
      {"an unknown expectation", head + "Expect: tea\r\n\r\n", 417},
  };
  for (const auto& row : rows) {
    CAPTURE(row.why);
    for (const std::size_t step : {1UL, 100'000UL}) {
      const auto out = feed(row.octets, step);
      CHECK(out.state == State::Refused);
      CHECK(out.refused.status == row.status);
      CHECK(out.requests.empty());
    }
  }
  std::string many = head;
  for (int n = 0; n < 101; ++n) many += "X" + std::to_string(n) + ": y\r\n";
  CHECK(feed(many + "\r\n", 1000).refused.status == 431);
}

TEST_CASE("fields that would lie to the library do not reach it") {
  const auto out =
      feed("GET / HTTP/1.1\r\nHost: x\r\nREMOTE_ADDR: 9.9.9.9\r\nRange: bytes=0-\r\nConnection: close\r\n\r\n", 1000);
  REQUIRE(out.requests.size() == 1);
  CHECK(out.requests[0].head == "GET / HTTP/1.1\r\nHost: x\r\n");
  CHECK(!out.requests[0].keep_alive);
}

TEST_CASE("random octets never make it overrun, and never become more than was sent") {
  std::mt19937 luck(7);
  const std::string words[] = {"GET ",
                               "POST ",
                               "/ HTTP/1.1",
                               "\r\n",
                               "Host: x",
                               "Content-Length: 3",
                               "\r\n\r\n",
                               "Transfer-Encoding: chunked",
                               "3\r\nabc\r\n",
                               "0\r\n\r\n",
                               "\0",
                               "abc",
                               ":",
                               " ",
                               "\n"};
  for (int round = 0; round < 20'000; ++round) {
    std::string octets;
    for (auto n = luck() % 20; n > 0; --n) octets += words[luck() % std::size(words)];
    const auto out = feed(octets, 1 + luck() % 9);
    std::size_t bodies = 0;
    for (const auto& request : out.requests) bodies += request.body.size();
    REQUIRE(bodies <= octets.size());
  }
}

}  // namespace
}  // namespace mailhaul::web
