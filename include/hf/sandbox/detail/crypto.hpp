#ifndef HF_SANDBOX_DETAIL_CRYPTO_HPP
#define HF_SANDBOX_DETAIL_CRYPTO_HPP

#include <hf/sandbox/error.hpp>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace hf::detail {

/// Initialises OpenSSL's crypto library now, and with it its own exit handler.
template <class = void>
void crypto_init() noexcept {
  OPENSSL_init_crypto(0, nullptr);
}

/// Lower-case hexadecimal form of bytes.
template <class = void>
[[nodiscard]] std::string to_hex(std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (char const c : bytes) {
    auto const byte = static_cast<unsigned char>(c);
    out.push_back(digits[byte >> 4]);
    out.push_back(digits[byte & 15]);
  }
  return out;
}

/// SHA-256 of data that comes in pieces.
template <class Context = EVP_MD_CTX>
class sha256 {
 public:
  sha256() {
    if (context_.get() == nullptr || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
      fail();
  }
  void update(std::string_view data) {
    if (EVP_DigestUpdate(context_.get(), data.data(), data.size()) != 1)
      fail();
  }
  /// The digest, 32 bytes. Call once, after all data.
  [[nodiscard]] std::string finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (EVP_DigestFinal_ex(context_.get(), digest.data(), &size) != 1)
      fail();
    return {reinterpret_cast<char const*>(digest.data()), size};
  }
  [[nodiscard]] std::string finish_hex() { return to_hex(finish()); }

 private:
  [[noreturn]] static void fail() {
    throw error(errc::internal, "OpenSSL cannot compute a SHA-256 digest");
  }

  class owned_context {
   public:
    owned_context() : context_(EVP_MD_CTX_new()) {}
    owned_context(owned_context const&) = delete;
    owned_context& operator=(owned_context const&) = delete;
    ~owned_context() { EVP_MD_CTX_free(context_); }
    [[nodiscard]] Context* get() const noexcept { return context_; }

   private:
    Context* context_;
  } context_;
};

/// SHA-256 as 64 hexadecimal digits.
template <class = void>
[[nodiscard]] std::string sha256_hex(std::string_view data) {
  sha256<> digest;
  digest.update(data);
  return digest.finish_hex();
}

/// HMAC-SHA256 (RFC 2104) as 64 hexadecimal digits.
template <class = void>
[[nodiscard]] std::string hmac_sha256_hex(std::string_view key, std::string_view message) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  auto const* const data = reinterpret_cast<unsigned char const*>(message.data());
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data, message.size(),
           digest.data(), &size) == nullptr)
    throw error(errc::internal, "OpenSSL cannot compute an HMAC");
  return to_hex({reinterpret_cast<char const*>(digest.data()), size});
}

/// `size` bytes from the system's cryptographic generator.
template <class = void>
[[nodiscard]] std::string random_bytes(std::size_t size) {
  std::string out(size, '\0');
  if (size != 0 &&
      RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(size)) != 1)
    throw error(errc::internal, "OpenSSL has no random bytes");
  return out;
}

/// `bytes` random bytes as twice as many hexadecimal digits.
template <class = void>
[[nodiscard]] std::string random_hex(std::size_t bytes) {
  return to_hex(random_bytes(bytes));
}

/// Compares in time that depends on the lengths only.
template <class = void>
[[nodiscard]] bool constant_time_equal(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace hf::detail

#endif
