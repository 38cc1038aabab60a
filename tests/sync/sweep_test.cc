// Every scenario again, with one disturbance: the connection cut behind every line that the server sends, the process
// killed before every effect and around every commit. A seeded sample; all of it with MAILHAUL_WHOLE=1 (preset sweep).
//
//   MAILHAUL_STORY=A3 MAILHAUL_FAULT=effect:17:1 sync_test -tc='sweep: one*'    one moment of one story, told
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <sstream>

#include "tests/sync/stage.h"

namespace mailhaul::test {
namespace {

using Kind = Fault::Kind;

constexpr std::pair<Kind, const char*> kKinds[] = {{Kind::CutAfterLine, "line"},
                                                   {Kind::CutAfterOctet, "octet"},
                                                   {Kind::DieAtEffect, "effect"},
                                                   {Kind::DieBeforeCommit, "before"},
                                                   {Kind::DieAfterCommit, "after"}};

std::string text_of(const Fault& fault) {
  for (const auto& [kind, name] : kKinds)
    if (kind == fault.kind)
      return std::string(name) + ":" + std::to_string(fault.at) + ":" + std::to_string(fault.memory);
  return "none";
}

std::string setting(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? "" : text;
}

struct Point {
  const Story* story;
  Fault fault;
};

std::uint64_t moments_of(const Moments& all, Kind kind) {
  switch (kind) {
    case Kind::CutAfterLine:
      return all.lines;
    case Kind::CutAfterOctet:
      return all.octets;
    case Kind::DieAtEffect:
      return all.effects;
    default:
      return all.commits;
  }
}

std::vector<Point> points(std::initializer_list<Kind> kinds) {
  std::vector<Point> out;
  for (const auto& story : stories()) {
    const auto all = tell(story, {});
    for (const auto kind : kinds) {
      const bool dies = kind != Kind::CutAfterLine && kind != Kind::CutAfterOctet;
      for (std::uint64_t at = 1; at <= moments_of(all, kind); ++at)
        for (std::uint64_t memory = 0; memory < (dies ? 3U : 1U); ++memory) out.push_back({&story, {kind, at, memory}});
    }
  }
  return out;
}

void sweep(std::vector<Point> all, std::size_t sample) {
  const auto many = all.size();
  if (setting("MAILHAUL_WHOLE").empty() && sample < many) {
    std::mt19937_64 luck(20'240'607);
    std::shuffle(all.begin(), all.end(), luck);
    // As many of a short story as of a long one.
    std::map<const Story*, std::size_t> nth;
    std::vector<std::pair<std::size_t, Point>> in_turn;
    in_turn.reserve(many);
    for (const auto& point : all) in_turn.emplace_back(nth[point.story]++, point);
    std::ranges::stable_sort(in_turn, {}, [](const auto& p) { return p.first; });
    all.clear();
    for (std::size_t i = 0; i < sample; ++i) all.push_back(in_turn[i].second);
  }
  for (const auto& point : all) {
    const auto* story = point.story;
    const auto& fault = point.fault;
    INFO("MAILHAUL_STORY=" << story->number() << " MAILHAUL_FAULT=" << text_of(fault) << " ("
                           << std::string(story->name) << ")");
    tell(*story, fault);
  }
  MESSAGE(all.size() << " of " << many << " moments of " << stories().size() << " stories");
}

TEST_CASE("sweep: A2 the connection is cut behind every line of every scenario") {
  sweep(points({Kind::CutAfterLine}), 1'000);
}

TEST_CASE("sweep: A1 the process dies before every effect and around every commit of every scenario") {
  sweep(points({Kind::DieAtEffect, Kind::DieBeforeCommit, Kind::DieAfterCommit}), 1'000);
}

TEST_CASE("sweep: A2 the connection is cut behind every octet of a conversation about 20 messages") {
  std::vector<Point> all;
  for (const auto& story : stories())
    if (story.number() == "A2") {
      const auto octets = tell(story, {}).octets;
      for (std::uint64_t at = 1; at <= octets; ++at) all.push_back({&story, {Kind::CutAfterOctet, at, 0}});
    }
  CHECK(all.size() > 2'000);
  sweep(std::move(all), 500);
}

TEST_CASE("sweep: one moment, as the environment says") {
  const auto number = setting("MAILHAUL_STORY"), what = setting("MAILHAUL_FAULT");
  if (number.empty()) return;
  std::istringstream words(what);
  std::string kind, at, memory;
  std::getline(words, kind, ':');
  std::getline(words, at, ':');
  std::getline(words, memory);
  for (const auto& story : stories()) {
    if (story.number() != number) continue;
    Fault fault;
    for (const auto& [k, name] : kKinds)
      if (kind == name) fault = {k, std::stoull(at), std::stoull(memory)};
    std::cout << story.name << "\n";
    const auto all = tell(story, fault);
    std::cout << "  " << all.lines << " lines, " << all.octets << " octets, " << all.effects << " effects, "
              << all.commits << " commits\n";
  }
}

}  // namespace
}  // namespace mailhaul::test
