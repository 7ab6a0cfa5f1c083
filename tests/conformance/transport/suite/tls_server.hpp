#ifndef HF_SANDBOX_TESTING_CONFORMANCE_TLS_SERVER_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_TLS_SERVER_HPP

#include "raw_server.hpp"
#include "tls_identity.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <csignal>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace hf::conformance {

/// TLS on a socket that was accepted.
class tls_channel : public channel {
 public:
  using ssl_ptr = std::unique_ptr<SSL, openssl_deleter<SSL_free>>;
  explicit tls_channel(ssl_ptr ssl) : ssl_(std::move(ssl)) {}
  long read(char* data, std::size_t size) override {
    auto const n = SSL_read(ssl_.get(), data, static_cast<int>(size));
    ERR_clear_error();
    return n;
  }
  long write(char const* data, std::size_t size) override {
    auto const n = SSL_write(ssl_.get(), data, static_cast<int>(size));
    ERR_clear_error();
    return n;
  }
  void close_notify() override { SSL_shutdown(ssl_.get()); }

 private:
  ssl_ptr ssl_;
};

/// The server's side of TLS: an identity, and what clients asked for.
class tls_endpoint {
 public:
  /// With `client_authority`, a client must show a certificate that it signed.
  explicit tls_endpoint(tls_identity const& identity,
                        tls_identity const* client_authority = nullptr)
      : context_(SSL_CTX_new(TLS_server_method())) {
#if !defined(_WIN32)
    // OpenSSL writes to sockets without MSG_NOSIGNAL.
    std::signal(SIGPIPE, SIG_IGN);
#endif
    SSL_CTX_use_certificate(context_.get(), identity.certificate.get());
    if (SSL_CTX_use_PrivateKey(context_.get(), identity.key.get()) != 1)
      throw std::runtime_error("OpenSSL refuses the server's key");
    SSL_CTX_set_tlsext_servername_callback(context_.get(), &tls_endpoint::on_name);
    SSL_CTX_set_tlsext_servername_arg(context_.get(), this);
    if (client_authority != nullptr) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()),
                          client_authority->certificate.get());
      SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                         nullptr);
    }
  }

  [[nodiscard]] raw_server::wrapper wrapper() {
    return [this](native_socket s) -> std::unique_ptr<channel> {
      tls_channel::ssl_ptr ssl(SSL_new(context_.get()));
      SSL_set_fd(ssl.get(), static_cast<int>(s));
      if (SSL_accept(ssl.get()) != 1) {
        ERR_clear_error();
        return nullptr;
      }
      return std::make_unique<tls_channel>(std::move(ssl));
    };
  }

  /// The name that the last client sent (SNI); empty when it sent none.
  [[nodiscard]] std::string last_name() {
    std::lock_guard const lock(mutex_);
    return last_name_;
  }

 private:
  static int on_name(SSL* ssl, int*, void* self) {
    auto& endpoint = *static_cast<tls_endpoint*>(self);
    char const* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    std::lock_guard const lock(endpoint.mutex_);
    endpoint.last_name_ = name == nullptr ? "" : name;
    return SSL_TLSEXT_ERR_OK;
  }

  std::unique_ptr<SSL_CTX, openssl_deleter<SSL_CTX_free>> context_;
  std::mutex mutex_;
  std::string last_name_;
};

}  // namespace hf::conformance

#endif
