#ifndef HF_SANDBOX_AGENT_HTTP_MESSAGE_PARSER_HPP
#define HF_SANDBOX_AGENT_HTTP_MESSAGE_PARSER_HPP

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace hf::agent {

/// Fields behind a chunked body. Newer versions of Beast (359 among them) hand them to a pure virtual
/// function of their own, older ones to `on_field_impl`: declared here without `override`, the
/// function is virtual with both.
template <bool IsRequest>
class trailer_parser : public boost::beast::http::basic_parser<IsRequest> {
 protected:
  virtual void on_trailer_field_impl(boost::beast::http::field, boost::beast::string_view,
                                     boost::beast::string_view, boost::beast::error_code& ec) = 0;
};

/// Beast's parser, with the fields in their order and chunked bodies copied straight to where they
/// are wanted.
template <bool IsRequest>
class message_parser final : public trailer_parser<IsRequest> {
  using base = boost::beast::http::basic_parser<IsRequest>;
  using error_code = boost::beast::error_code;
  using string_view = boost::beast::string_view;

 public:
  message_parser() {
    base::header_limit(256 * 1024);
    base::body_limit(boost::none);
  }

  std::string method;
  std::string target;
  /// 10 or 11 for HTTP/1.0 and 1.1.
  int version = 0;
  int status = 0;
  std::string reason;
  /// Names of requests in lower case, of answers as they came.
  std::vector<std::pair<std::string, std::string>> fields;

  /// Decodes a part of a chunked body from `in` to `out`; sets how much of both was used. Returns
  /// false when the body is malformed.
  bool decode(boost::asio::const_buffer in, boost::asio::mutable_buffer out, std::size_t& consumed,
              std::size_t& produced) {
    consumed = 0;
    out_ = static_cast<char*>(out.data());
    out_size_ = out.size();
    while (!base::is_done() && consumed < in.size() && out_size_ > 0) {
      error_code ec;
      std::size_t const n = base::put(in + consumed, ec);
      consumed += n;
      if (ec == boost::beast::http::error::need_more)
        break;
      if (ec && ec != boost::beast::http::error::need_buffer)
        return false;
      if (n == 0)
        break;
    }
    produced = out.size() - out_size_;
    out_size_ = 0;
    return true;
  }

 private:
  void on_request_impl(boost::beast::http::verb, string_view method_text, string_view target_text,
                       int http_version, error_code& ec) override {
    method.assign(method_text.data(), method_text.size());
    target.assign(target_text.data(), target_text.size());
    version = http_version;
    ec = {};
  }
  void on_response_impl(int code, string_view reason_text, int http_version,
                        error_code& ec) override {
    status = code;
    reason.assign(reason_text.data(), reason_text.size());
    version = http_version;
    ec = {};
  }
  void on_field_impl(boost::beast::http::field, string_view name, string_view value,
                     error_code& ec) override {
    ec = {};
    if (trailer_)
      return;
    std::string lower(name.data(), name.size());
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z')
        c = static_cast<char>(c + 32);
    fields.emplace_back(std::move(lower), std::string(value.data(), value.size()));
  }
  void on_trailer_field_impl(boost::beast::http::field, string_view, string_view,
                             error_code& ec) override {
    ec = {};
  }
  void on_header_impl(error_code& ec) override {
    trailer_ = true;
    ec = {};
  }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code& ec) override {
    ec = {};
  }
  std::size_t on_body_impl(string_view body, error_code& ec) override { return take(body, ec); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code& ec) override { ec = {}; }
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code& ec) override {
    return take(body, ec);
  }
  void on_finish_impl(error_code& ec) override { ec = {}; }

  std::size_t take(string_view body, error_code& ec) {
    std::size_t const n = (std::min)(body.size(), out_size_);
    std::memcpy(out_, body.data(), n);
    out_ += n;
    out_size_ -= n;
    ec = {};
    if (n < body.size())
      ec = boost::beast::http::error::need_buffer;
    return n;
  }

  char* out_ = nullptr;
  std::size_t out_size_ = 0;
  bool trailer_ = false;
};

using request_parser = message_parser<true>;
using response_parser = message_parser<false>;

}  // namespace hf::agent

#endif
