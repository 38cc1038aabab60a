#include "tests/support/scripted_server.h"

#include "tests/support/transcript.h"

namespace mailhaul::test {

ScriptedServer::ScriptedServer(std::vector<std::string> scripts, ServerOptions options)
    : scripts_(std::move(scripts)), options_(options) {
  for (const auto& script : scripts_) const Transcript parsed(script);  // a malformed one throws here, not on a thread
  if (options_.tls != Tls::None)
    context_ = Authority::instance().server_context(options_.certificate, options_.newest_tls);
  loopback_ = std::make_unique<Loopback>([this](Stream& stream, std::size_t n) { play(stream, n); });
}

ScriptedServer::~ScriptedServer() { loopback_.reset(); }

void ScriptedServer::report(std::size_t connection, const std::string& failure) {
  const std::lock_guard lock(mutex_);
  if (failure_.empty()) failure_ = "connection " + std::to_string(connection) + ": " + failure;
}

void ScriptedServer::play(Stream& stream, std::size_t connection) {
  if (connection >= scripts_.size()) return report(connection, "no script for it");
  const auto secure = [&] {
    if (stream.start_tls(context_.get())) return true;
    const std::lock_guard lock(mutex_);
    tls_error_ = stream.tls_error();
    return false;
  };
  if (options_.tls == Tls::Implicit && !secure()) return;
  Transcript transcript(scripts_[connection]);
  std::size_t lines = 0;
  bool over = false;
  while (!over) {
    const auto want = transcript.advance();
    {
      const std::lock_guard lock(mutex_);
      for (; lines < transcript.lines().size(); ++lines) lines_.push_back(transcript.lines()[lines]);
    }
    switch (want) {
      case Transcript::Want::Output:
        if (!stream.write(transcript.take_output())) transcript.closed();
        break;
      case Transcript::Want::Input:
      case Transcript::Want::Stall:
      case Transcript::Want::End: {
        std::string octets;
        if (!stream.read(octets)) {
          over = want == Transcript::Want::End && transcript.finished();
          transcript.closed();
          break;
        }
        if (!stream.encrypted()) {
          const std::lock_guard lock(mutex_);
          in_clear_ += octets;
        }
        if (want == Transcript::Want::Input) transcript.feed(octets);
        break;
      }
      case Transcript::Want::StartTls:
        transcript.forget_input();
        over = !context_ || !secure();
        if (over && !context_) report(connection, "starttls without a certificate");
        break;
      case Transcript::Want::Compress:
        stream.start_compression(transcript.take_output());
        break;
      case Transcript::Want::Close:
        stream.close();
        over = true;
        break;
      case Transcript::Want::Drop:
        stream.drop();
        over = true;
        break;
      case Transcript::Want::Reset:
        stream.reset();
        over = true;
        break;
      case Transcript::Want::Failed:
        report(connection, transcript.failure());
        over = true;
        break;
    }
  }
}

std::string ScriptedServer::verdict() {
  loopback_->join_handlers();
  const std::lock_guard lock(mutex_);
  return failure_;
}

std::vector<std::string> ScriptedServer::lines() {
  const std::lock_guard lock(mutex_);
  return lines_;
}

std::string ScriptedServer::in_clear() {
  const std::lock_guard lock(mutex_);
  return in_clear_;
}

std::string ScriptedServer::tls_error() {
  const std::lock_guard lock(mutex_);
  return tls_error_;
}

}  // namespace mailhaul::test
