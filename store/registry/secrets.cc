#include "store/registry/secrets.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <system_error>

#include "protocols/mail/digest.h"

namespace mailhaul::registry {
namespace {

constexpr std::size_t kKey = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
constexpr std::size_t kNonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTag = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t kKeyId = 8;
constexpr unsigned long long kPasses = 2;
constexpr std::size_t kMemory = 19U << 20;

bool ready() {
  static const bool initialised = sodium_init() >= 0;
  return initialised;
}

const unsigned char* octets(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* octets(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

Error trouble(std::string what, std::string advice = "") {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

std::string id_of(const Secret& key) {
  const auto digest = mail::Sha256::of("mailhaul key " + key.reveal());
  return {reinterpret_cast<const char*>(digest.data()), kKeyId};
}

Result<Secret> read_key(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return trouble("the key file " + path + " cannot be read", "Check its name and its permissions.");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto hex_end = text.find_last_not_of("\r\n");
  if (text.size() > kKey && hex_end != std::string::npos && hex_end + 1 == 2 * kKey) {
    std::string raw(kKey, '\0');
    const int bad = sodium_hex2bin(octets(raw), kKey, text.data(), 2 * kKey, nullptr, nullptr, nullptr);
    wipe(text);
    if (bad != 0) return trouble("the key in " + path + " is not hexadecimal");
    return Secret(std::move(raw));
  }
  const bool all_equal = !text.empty() && std::ranges::all_of(text, [&](char c) { return c == text[0]; });
  if (text.size() != kKey || all_equal) {
    wipe(text);
    return trouble("the file " + path + " holds no key",
                   "A key is 32 random octets, or 64 hexadecimal digits: "
                   "head -c 32 /dev/urandom > FILE");
  }
  return Secret(std::move(text));
}

Done make_key(const std::string& path) {
  std::string key(kKey, '\0');
  randombytes_buf(key.data(), key.size());
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    wipe(key);
    return trouble("the key file " + path + " cannot be made: " + std::generic_category().message(errno));
  }
  const bool written = ::write(file, key.data(), key.size()) == static_cast<ssize_t>(key.size()) && ::fsync(file) == 0;
  ::close(file);
  wipe(key);
  const int directory = ::open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && ::fsync(directory) == 0;
  if (directory >= 0) ::close(directory);
  if (written && synced) return done();
  ::unlink(path.c_str());
  return trouble("the key file " + path + " cannot be written", "Free some space and start again.");
}

std::vector<std::string> keys_in(const std::string& directory) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.path().extension() == ".key") found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

std::string nth_key(const std::string& directory, std::size_t number) {
  const auto digits = std::to_string(number);
  return directory + "/" + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits + ".key";
}

std::size_t number_of(const std::string& path) {
  const auto stem = std::filesystem::path(path).stem().string();
  std::size_t number = 0;
  for (const char c : stem)
    if (c >= '0' && c <= '9') number = number * 10 + static_cast<std::size_t>(c - '0');
  return number;
}

// Argon2 takes its memory at once: a crowd at the login must not take all there is.
class Turn {
 public:
  Turn() {
    std::unique_lock lock(mutex());
    changed().wait(lock, [] { return busy() < 2; });
    ++busy();
  }
  ~Turn() {
    {
      const std::lock_guard lock(mutex());
      --busy();
    }
    changed().notify_one();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static std::condition_variable& changed() {
    static std::condition_variable one;
    return one;
  }
  static int& busy() {
    static int count = 0;
    return count;
  }
};

}  // namespace

Result<SecretBox> SecretBox::open(const std::string& directory, const std::string& given) {
  if (!ready()) return trouble("libsodium cannot be used on this machine");
  SecretBox box;
  box.generated_ = given.empty();
  auto files = keys_in(directory);
  if (given.empty() && files.empty()) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) return trouble("the directory " + directory + " cannot be made: " + error.message());
    ::chmod(directory.c_str(), 0700);
    if (auto made = make_key(nth_key(directory, 1)); !made) return made.error();
    files = keys_in(directory);
  }
  if (!given.empty()) files.push_back(given);  // the last one seals
  for (const auto& file : files) {
    auto key = read_key(file);
    if (!key) return key.error();
    box.newest_ = id_of(*key);
    box.keys_.insert_or_assign(box.newest_, *std::move(key));
  }
  return box;
}

Result<std::string> SecretBox::seal(const Secret& secret, std::string_view place) const {
  const auto& key = keys_.at(newest_);
  const auto& text = secret.reveal();
  std::string out = newest_;
  out.resize(kKeyId + kNonce + text.size() + kTag);
  randombytes_buf(out.data() + kKeyId, kNonce);
  unsigned long long length = 0;
  crypto_aead_xchacha20poly1305_ietf_encrypt(octets(out) + kKeyId + kNonce, &length, octets(text), text.size(),
                                             octets(place), place.size(), nullptr, octets(out) + kKeyId,
                                             octets(key.reveal()));
  return out;
}

Result<Secret> SecretBox::open_sealed(std::string_view sealed, std::string_view place) const {
  if (sealed.size() < kKeyId + kNonce + kTag) return trouble("a sealed password is damaged", "Enter it again.");
  const auto key = keys_.find(std::string(sealed.substr(0, kKeyId)));
  if (key == keys_.end())
    return trouble("the password was sealed with a key that is not here",
                   "Give the service its old key back (MAILHAUL_MASTER_KEY_FILE), or enter the password again.");
  const auto nonce = sealed.substr(kKeyId, kNonce);
  const auto body = sealed.substr(kKeyId + kNonce);
  std::string text(body.size() - kTag, '\0');
  unsigned long long length = 0;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(octets(text), &length, nullptr, octets(body), body.size(),
                                                 octets(place), place.size(), octets(nonce),
                                                 octets(key->second.reveal())) != 0)
    return trouble("a sealed password does not belong where it was found", "Enter it again.");
  return Secret(std::move(text));
}

bool SecretBox::current(std::string_view sealed) const { return sealed.starts_with(newest_); }

Done SecretBox::rotate(const std::string& directory) {
  if (!generated_)
    return trouble("the key is given by MAILHAUL_MASTER_KEY_FILE",
                   "Put the old key into " + directory +
                       " as a file that ends in .key, give a new file, and run this "
                       "again with --reseal.");
  const auto files = keys_in(directory);
  const auto path = nth_key(directory, files.empty() ? 1 : number_of(files.back()) + 1);
  if (auto made = make_key(path); !made) return made;
  auto key = read_key(path);
  if (!key) return key.error();
  newest_ = id_of(*key);
  keys_.insert_or_assign(newest_, *std::move(key));
  return done();
}

Done SecretBox::remove_older(const std::string& directory) {
  auto files = keys_in(directory);
  if (!files.empty()) files.pop_back();
  for (const auto& file : files)
    if (::unlink(file.c_str()) != 0) return trouble("the old key " + file + " cannot be removed");
  return done();
}

Result<std::string> hash_password(const Secret& password) {
  if (!ready()) return trouble("libsodium cannot be used on this machine");
  const Turn turn;
  std::array<char, crypto_pwhash_STRBYTES> out{};
  if (crypto_pwhash_str_alg(out.data(), password.reveal().data(), password.reveal().size(), kPasses, kMemory,
                            crypto_pwhash_ALG_ARGON2ID13) != 0)
    return Error{Scope::Service, Retry::Later, "there is not enough memory to hash a password", ""};
  return std::string(out.data());
}

bool password_matches(const Secret& password, const std::string& hash) {
  if (!ready()) return false;
  static const std::string nobody = [] {
    auto made = hash_password(Secret(random_token()));
    return made ? *made : std::string();
  }();
  const auto& against = hash.empty() ? nobody : hash;
  const Turn turn;
  const bool matches =
      crypto_pwhash_str_verify(against.c_str(), password.reveal().data(), password.reveal().size()) == 0;
  return matches && !hash.empty();
}

std::string random_token(std::size_t count) {
  (void)ready();
  std::string raw(count, '\0');
  randombytes_buf(raw.data(), raw.size());
  std::string out(sodium_base64_encoded_len(count, sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(out.data(), out.size(), octets(raw), raw.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  out.pop_back();  // its NUL
  wipe(raw);
  return out;
}

std::string token_hash(std::string_view token) {
  const auto digest = mail::Sha256::of(token);
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace mailhaul::registry
