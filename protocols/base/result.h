// Errors as values. An error says how far it reaches and when trying again can help; every layer above decides by
// those two axes, never by parsing text. Nothing throws across rooms; exceptions are for bugs and exhausted memory.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace mailhaul {

enum class Scope { Message, Mailbox, Account, Service };  // what must stop
enum class Retry { Now, Later, AfterUserAction, Never };  // when trying again helps

struct Error {
  Scope scope = Scope::Service;
  Retry retry = Retry::Never;
  std::string what;       // grows outward: "deliver 4711 to INBOX: append: NO [OVERQUOTA]". One line, never a secret
  std::string advice;     // what a user can do about it, a sentence; may be empty
  std::int64_t wait = 0;  // Retry::Later: seconds for which the peer asks to be left alone; 0: it does not

  // The same error as seen one layer further out: "<outer>: <what>".
  [[nodiscard]] Error in(std::string_view outer) const& {
    Error e = *this;
    e.what = std::string(outer) + ": " + what;
    return e;
  }
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

using Done = Result<std::monostate>;
inline Done done() { return std::monostate{}; }

}  // namespace mailhaul
