// What the service answers: a value, or why not, in terms that a page, a script and a log can tell apart.
#pragma once
#include <string>
#include <utility>
#include <variant>

#include "protocols/base/result.h"

namespace mailhaul::service {

enum class Why {
  Invalid,     // the request itself: `field` names what is wrong
  NotAllowed,  // not for this user
  NotFound,    // not there, or not for this user to see
  Conflict,    // with what is there
  Stale,       // somebody else changed it meanwhile
  TooMany,     // requests: `wait` seconds
  Trouble,     // on our side: disk, database
};

struct Refusal {
  Why why = Why::Trouble;
  std::string what;
  std::string advice{};
  std::string field{};
  std::int64_t wait = 0;
};

inline Refusal refused(const Error& error) { return {Why::Trouble, error.what, error.advice, "", error.wait}; }
inline Refusal invalid(std::string field, std::string what, std::string advice = "") {
  return {Why::Invalid, std::move(what), std::move(advice), std::move(field)};
}
inline Refusal not_found(std::string what) { return {Why::NotFound, std::move(what)}; }

template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Outcome(Refusal refusal)
      : state_(std::in_place_index<1>, std::move(refusal)) {}  // NOLINT(google-explicit-constructor)
  Outcome(const Error& error) : Outcome(refused(error)) {}     // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  [[nodiscard]] const Refusal& refusal() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Refusal> state_;
};

using Nothing = std::monostate;
using Accepted = Outcome<Nothing>;
inline Accepted accepted() { return Nothing{}; }

}  // namespace mailhaul::service
