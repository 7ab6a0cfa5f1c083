#ifndef HF_SANDBOX_TESTING_CONFORMANCE_TLS_IDENTITY_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_TLS_IDENTITY_HPP

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace hf::conformance {

template <auto Free>
struct openssl_deleter {
  template <class Handle>
  void operator()(Handle* handle) const noexcept {
    Free(handle);
  }
};
using pkey_ptr = std::unique_ptr<EVP_PKEY, openssl_deleter<EVP_PKEY_free>>;
using x509_ptr = std::unique_ptr<X509, openssl_deleter<X509_free>>;
using bio_ptr = std::unique_ptr<BIO, openssl_deleter<BIO_free>>;

/// A key and its certificate, made on the spot.
struct tls_identity {
  pkey_ptr key = {};
  x509_ptr certificate = {};

  [[nodiscard]] std::string certificate_pem() const {
    return pem([&](BIO* out) { PEM_write_bio_X509(out, certificate.get()); });
  }
  [[nodiscard]] std::string key_pem() const {
    return pem([&](BIO* out) {
      PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }

 private:
  template <class Write>
  static std::string pem(Write write) {
    bio_ptr const out(BIO_new(BIO_s_mem()));
    write(out.get());
    char* data = nullptr;
    auto const size = BIO_get_mem_data(out.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }
};

/// Makes a certificate for `name` with the alternative names `alt` (OpenSSL's syntax, may be
/// empty), signed by `issuer` or by itself.
inline tls_identity make_identity(std::string const& name, std::string const& alt,
                                  tls_identity const* issuer, bool authority = false) {
  static std::atomic<long> serial{std::chrono::system_clock::now().time_since_epoch().count() %
                                  1'000'000'000};
  tls_identity out;
  out.key.reset(EVP_EC_gen("P-256"));
  out.certificate.reset(X509_new());
  auto* const cert = out.certificate.get();
  if (!out.key || cert == nullptr)
    throw std::runtime_error("OpenSSL cannot make a key");
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86'400);
  X509_set_pubkey(cert, out.key.get());
  auto* const subject = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<unsigned char const*>(name.c_str()), -1, -1, 0);
  auto* const signer = issuer != nullptr ? issuer->certificate.get() : cert;
  X509_set_issuer_name(cert, X509_get_subject_name(signer));
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, signer, cert, nullptr, nullptr, 0);
  auto const extend = [&](int id, std::string const& value) {
    auto* const extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
    if (extension == nullptr)
      throw std::runtime_error("OpenSSL refuses an extension: " + value);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
  extend(NID_subject_key_identifier, "hash");
  if (authority)
    extend(NID_key_usage, "critical,keyCertSign,cRLSign");
  if (!alt.empty())
    extend(NID_subject_alt_name, alt);
  if (X509_sign(cert, issuer != nullptr ? issuer->key.get() : out.key.get(), EVP_sha256()) == 0)
    throw std::runtime_error("OpenSSL cannot sign");
  return out;
}

/// A file in the temporary directory, removed at the end.
class temporary_file {
 public:
  explicit temporary_file(std::string const& content) {
    static std::atomic<int> number{0};
    auto const stamp = std::chrono::steady_clock::now().time_since_epoch().count();
    path_ = std::filesystem::temp_directory_path() /
            ("hf-conformance-" + std::to_string(stamp) + "-" + std::to_string(number++) + ".pem");
    std::ofstream(path_, std::ios::binary) << content;
  }
  temporary_file(temporary_file const&) = delete;
  temporary_file& operator=(temporary_file const&) = delete;
  ~temporary_file() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace hf::conformance

#endif
