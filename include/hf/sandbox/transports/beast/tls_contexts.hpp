#ifndef HF_SANDBOX_TRANSPORTS_BEAST_TLS_CONTEXTS_HPP
#define HF_SANDBOX_TRANSPORTS_BEAST_TLS_CONTEXTS_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/verify_mode.hpp>
#include <boost/system/error_code.hpp>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace hf::detail {

/// OpenSSL contexts by their settings, made once: reading certification authorities is slow. Safe
/// to use from several threads.
class beast_tls_contexts {
 public:
  using context = boost::asio::ssl::context;

  [[nodiscard]] std::shared_ptr<context> get(http::tls_settings const& settings) {
    std::lock_guard const lock(mutex_);
    for (auto const& [known, made] : made_)
      if (known == settings)
        return made;
    auto made = make(settings);
    if (made_.size() >= 16)
      made_.erase(made_.begin());
    made_.emplace_back(settings, made);
    return made;
  }

 private:
  static void check(boost::system::error_code const& ec, std::string const& what) {
    if (ec)
      throw error(errc::tls_failed, what + ": " + ec.message());
  }

  static bool has_hashed_names(std::filesystem::path const& directory) {
    std::error_code ec;
    for (std::filesystem::directory_iterator at(directory, ec), end; !ec && at != end;
         at.increment(ec))
      if (at->path().extension() == ".0")
        return true;
    return false;
  }

  static std::shared_ptr<context> make(http::tls_settings const& settings) {
    auto made = std::make_shared<context>(context::tls_client);
    SSL_CTX_set_min_proto_version(made->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_mode(made->native_handle(), SSL_MODE_RELEASE_BUFFERS);
    made->set_verify_mode(boost::asio::ssl::verify_peer);
    boost::system::error_code ec;
    if (!settings.ca_file.empty()) {
      made->load_verify_file(settings.ca_file, ec);
      check(ec, "cannot read the certification authorities in " + settings.ca_file);
    }
    if (!settings.ca_path.empty())
      made->add_verify_path(settings.ca_path, ec);
    check(ec, "cannot use the certification authorities in " + settings.ca_path);
    if (settings.ca_file.empty() && settings.ca_path.empty()) {
      // OpenSSL's own default paths, without the environment variables that would replace them. A
      // directory with hashed names is looked up as needed; a bundle has to be read whole.
      made->add_verify_path(X509_get_default_cert_dir(), ec);
      std::error_code missing;
      if (!has_hashed_names(X509_get_default_cert_dir()) &&
          std::filesystem::exists(X509_get_default_cert_file(), missing))
        made->load_verify_file(X509_get_default_cert_file(), ec);
    }
    if (!settings.cert_file.empty()) {
      made->use_certificate_chain_file(settings.cert_file, ec);
      check(ec, "cannot read the client certificate in " + settings.cert_file);
      auto const& key = settings.key_file.empty() ? settings.cert_file : settings.key_file;
      made->use_private_key_file(key, context::pem, ec);
      check(ec, "cannot read the client's key in " + key);
    }
    return made;
  }

  std::mutex mutex_;
  std::vector<std::pair<http::tls_settings, std::shared_ptr<context>>> made_;
};

}  // namespace hf::detail

#endif
