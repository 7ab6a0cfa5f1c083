#ifndef HF_SANDBOX_TRANSPORTS_CURL_EXCHANGE_HPP
#define HF_SANDBOX_TRANSPORTS_CURL_EXCHANGE_HPP

#include <hf/sandbox/detail/head_parser.hpp>
#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/curl/errors.hpp>
#include <hf/sandbox/transports/curl/lane.hpp>
#include <hf/sandbox/transports/curl/route.hpp>
#include <hf/sandbox/transports/options.hpp>

#include <curl/curl.h>

#if !defined(_WIN32)
#include <sys/socket.h>
#endif

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace hf::detail {

/// One request on one lane. Lives for one `send`.
template <class Lane>
class curl_exchange {
 public:
  curl_exchange(Lane& lane, http::request const& rq, http::url const& target,
                curl_route const& route, transport_options const& options,
                http::response_sink& sink)
      : lane_(lane),
        rq_(rq),
        target_(target),
        route_(route),
        options_(options),
        sink_(sink),
        clock_(rq) {}
  curl_exchange(curl_exchange const&) = delete;
  curl_exchange& operator=(curl_exchange const&) = delete;
  ~curl_exchange() {
    // The handle outlives this list.
    if (resolve_)
      curl_easy_setopt(lane_.easy(), CURLOPT_RESOLVE, static_cast<curl_slist*>(nullptr));
  }

  void run() {
    prepare();
    auto result = transfer();
    if (end_ == end::stale) {
      end_ = end::none;
      set(CURLOPT_FRESH_CONNECT, 1L);
      result = transfer();
    }
    if (resolve_)
      lane_.add_address(address_key());
    finish(result);
  }

 private:
  template <class Value>
  void set(CURLoption option, Value value) {
    curl_set(lane_.easy(), option, value);
  }

  void prepare() {
    lane_.set_up_for(route_, [this] {
      set(CURLOPT_HEADERFUNCTION, &curl_exchange::on_header);
      set(CURLOPT_WRITEFUNCTION, &curl_exchange::on_body);
      set(CURLOPT_PREREQFUNCTION, &curl_exchange::on_request);
      set(CURLOPT_READFUNCTION, &curl_exchange::on_read);
      set(CURLOPT_SEEKFUNCTION, &curl_exchange::on_seek);
    });
    lane_.clear_error_text();
    set(CURLOPT_FRESH_CONNECT, 0L);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_PREREQDATA, this);
    set(CURLOPT_READDATA, this);
    set(CURLOPT_SEEKDATA, this);
    auto const connect = rq_.connect_timeout.count();
    // Ours is kept by the clock; libcurl's own default of 300 s must not come first.
    set(CURLOPT_CONNECTTIMEOUT_MS,
        static_cast<long>(connect > 0 && connect < 86'400'000 ? connect + 1'000 : 86'400'000));
    if (route_.absolute_target())
      set(CURLOPT_REQUEST_TARGET, (route_.origin() + target_.target).c_str());
    else
      set(CURLOPT_REQUEST_TARGET, target_.target.c_str());
    prepare_address();
    prepare_body();
    prepare_fields();
  }

  void prepare_address() {
    if (!rq_.unix_socket.empty() || !http::is_localhost_name(target_.host))
      return;
    auto const key = address_key();
    if (lane_.knows_address(key))
      return;
    resolve_.reset(curl_slist_append(nullptr, (key + ":127.0.0.1,[::1]").c_str()));
    if (!resolve_)
      throw std::bad_alloc();
    set(CURLOPT_RESOLVE, resolve_.get());
  }

  [[nodiscard]] std::string address_key() const {
    return target_.host + ":" + std::to_string(target_.port);
  }

  void prepare_body() {
    set(CURLOPT_HTTPGET, 1L);  // undoes what an earlier request set
    if (rq_.method == "HEAD" && !rq_.body.present()) {
      set(CURLOPT_NOBODY, 1L);
    } else if (auto* const reader = rq_.body.reader()) {
      body_left_ = reader->size();
      reader->rewind();
      set(CURLOPT_UPLOAD, 1L);
      set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body_left_));
    } else if (rq_.body.present() || announces_empty_body(rq_)) {
      set(CURLOPT_POST, 1L);
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(rq_.body.text().size()));
      set(CURLOPT_POSTFIELDS, rq_.body.text().data());
    }
    set(CURLOPT_CUSTOMREQUEST, rq_.method.c_str());
  }

  void prepare_fields() {
    for (auto const& field : rq_.fields)
      add_field(field.name, field.value);
    if (!options_.user_agent.empty() && !rq_.fields.contains("User-Agent"))
      add_field("User-Agent", options_.user_agent);
    // What libcurl would add on its own.
    if (!rq_.fields.contains("Accept"))
      append("Accept:");
    if (rq_.body.present() || announces_empty_body(rq_)) {
      if (!rq_.fields.contains("Content-Type"))
        append("Content-Type:");
      append("Expect:");
    }
    set(CURLOPT_HTTPHEADER, fields_.get());
  }

  void add_field(std::string const& name, std::string const& value) {
    // "Name:" would remove a field; an empty one is spelled with a semicolon.
    bool const blank = value.find_first_not_of(" \t") == std::string::npos;
    append((blank ? name + ";" : name + ": " + value).c_str());
  }

  void append(char const* line) {
    auto* const longer = curl_slist_append(fields_.get(), line);
    if (longer == nullptr)
      throw std::bad_alloc();
    static_cast<void>(fields_.release());
    fields_.reset(longer);
  }

  /// Drives the transfer; the easy handle is detached again whatever happens.
  CURLcode transfer() {
    struct attached {
      Lane& lane;
      explicit attached(Lane& l) : lane(l) {
        if (curl_multi_add_handle(lane.multi(), lane.easy()) != CURLM_OK)
          throw error(errc::internal, "libcurl does not take the request");
      }
      ~attached() { curl_multi_remove_handle(lane.multi(), lane.easy()); }
    };
    attached const guard(lane_);
    auto wake = [multi = lane_.multi()] { curl_multi_wakeup(multi); };
    stop_callback<decltype(wake)> const on_stop(rq_.stop, wake);
    while (true) {
      int running = 0;
      if (curl_multi_perform(lane_.multi(), &running) != CURLM_OK)
        throw error(errc::internal, "libcurl's multi interface failed");
      if (running == 0)
        break;
      note_upload();
      if (over())
        return CURLE_ABORTED_BY_CALLBACK;
      auto const wait = clock_.left(std::chrono::seconds(60)).count();
      curl_multi_poll(lane_.multi(), nullptr, 0, static_cast<int>(wait), nullptr);
      note_upload();
      if (over())
        return CURLE_ABORTED_BY_CALLBACK;
    }
    int left = 0;
    while (auto const* const message = curl_multi_info_read(lane_.multi(), &left))
      if (message->msg == CURLMSG_DONE)
        return message->data.result;
    return CURLE_RECV_ERROR;
  }

  /// Bytes that the socket took count as movement.
  void note_upload() {
    if (!clock_.is_connected() || !rq_.body.present())
      return;
    curl_off_t sent = 0;
    curl_easy_getinfo(lane_.easy(), CURLINFO_SIZE_UPLOAD_T, &sent);
    if (sent != std::exchange(sent_, sent))
      clock_.moved();
  }

  [[nodiscard]] bool over() {
    if (rq_.stop.stop_requested())
      end_ = end::cancelled;
    if (end_ == end::none && clock_.expired())
      end_ = end::timed_out;
    return end_ != end::none;
  }

  void finish(CURLcode result) {
    if (thrown_)
      std::rethrow_exception(thrown_);
    if (end_ == end::sink_stopped)
      return;
    bool const whole = got_head_ && length_ && received_ >= *length_;
    // An answer that came whole counts, even if the peer would not read the rest of the request.
    if (whole && end_ != end::cancelled)
      return;
    if (result == CURLE_OK && got_head_)
      return;
    // libcurl says the same of a line that is longer than its own limit.
    if (result == CURLE_OUT_OF_MEMORY && !clock_.is_connected())
      throw std::bad_alloc();
    std::string const& origin = rq_.unix_socket.empty() ? route_.origin() : rq_.unix_socket;
    switch (end_) {
      case end::cancelled:
        fail(errc::cancelled, "the request to " + origin + " was cancelled");
      case end::timed_out:
        fail(errc::request_timed_out, clock_.describe(origin));
      case end::body_short:
        fail(errc::invalid_argument, "the request's body ended before its announced size");
      case end::bad_head:
        fail(errc::protocol_error, "the answer of " + origin + " has a malformed head");
      case end::not_resent:
        fail(errc::connection_lost, "the connection to " + origin + " broke before the answer");
      case end::stale:  // not on a new connection
      case end::sink_stopped:
      case end::none:
        break;
    }
    if (result == CURLE_OK)
      fail(errc::connection_lost, "the connection to " + origin + " broke in the answer's head");
    std::string text =
        *lane_.error_text() != '\0' ? lane_.error_text() : curl_easy_strerror(result);
    // libcurl's text speaks of the host and port that the socket stands for.
    if (!rq_.unix_socket.empty() && result == CURLE_COULDNT_CONNECT)
      text = "cannot connect: " + std::generic_category().message(os_error());
    fail(curl_errc(result, text, clock_.is_connected()), origin + ": " + text);
  }

  [[noreturn]] void fail(errc code, std::string message) const {
    error_details details;
    details.may_have_reached_peer = clock_.is_connected() && request_bytes() > tunnel_bytes_;
    details.system_error = os_error();
    throw error(code, std::move(message), std::move(details));
  }

  /// The system's error number of the last connect that failed; 0: none did.
  [[nodiscard]] int os_error() const {
    long number = 0;
    curl_easy_getinfo(lane_.easy(), CURLINFO_OS_ERRNO, &number);
    return static_cast<int>(number);
  }

  /// Bytes of request heads that the socket took so far, those of a proxy's tunnel included.
  [[nodiscard]] long request_bytes() const {
    long bytes = 0;
    curl_easy_getinfo(lane_.easy(), CURLINFO_REQUEST_SIZE, &bytes);
    return bytes;
  }

  template <class Action>
  [[nodiscard]] bool guarded(Action&& action) noexcept {
    try {
      action();
    } catch (...) {
      thrown_ = std::current_exception();
      return false;
    }
    clock_.moved();
    if (rq_.stop.stop_requested())
      end_ = end::cancelled;
    return end_ == end::none;
  }

  /// Whether this is a pooled connection that the server has closed, or on which it talks unasked.
  /// Newer versions of libcurl do not look before they write to one.
  [[nodiscard]] bool is_stale() const noexcept {
#if defined(_WIN32)
    return false;
#else
    long made = 0;
    curl_socket_t s = CURL_SOCKET_BAD;
    curl_easy_getinfo(lane_.easy(), CURLINFO_NUM_CONNECTS, &made);
    curl_easy_getinfo(lane_.easy(), CURLINFO_ACTIVESOCKET, &s);
    if (made != 0 || s == CURL_SOCKET_BAD)
      return false;
    char byte = 0;
    auto const n = ::recv(s, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
#endif
  }

  /// Called when a connection stands and the request is about to be written to it.
  static int on_request(void* self, char*, char*, int, int) noexcept {
    auto& exchange = *static_cast<curl_exchange*>(self);
    // libcurl tries again by itself when a reused connection breaks before the first byte of the
    // answer, for any method. The peer may have acted on what it got: never send that twice.
    auto const bytes = exchange.request_bytes();
    if (!exchange.clock_.is_connected() && exchange.is_stale()) {
      exchange.end_ = end::stale;
      return CURL_PREREQFUNC_ABORT;
    }
    if (exchange.clock_.is_connected() && bytes > exchange.tunnel_bytes_) {
      exchange.end_ = end::not_resent;
      return CURL_PREREQFUNC_ABORT;
    }
    exchange.tunnel_bytes_ = bytes;
    exchange.clock_.connected();
    return CURL_PREREQFUNC_OK;
  }

  static std::size_t on_header(char* data, std::size_t size, std::size_t n, void* self) noexcept {
    auto& exchange = *static_cast<curl_exchange*>(self);
    auto const bytes = size * n;
    if (exchange.got_head_) {  // trailers
      exchange.trailer_bytes_ += bytes;
      if (exchange.trailer_bytes_ <= head_parser::limit)
        return bytes;
      exchange.end_ = end::bad_head;
      return 0;
    }
    bool const more =
        exchange.guarded([&] { exchange.take_header_line(std::string_view(data, bytes)); });
    return more ? bytes : 0;
  }

  void take_header_line(std::string_view line) {
    // The rest of a head that was cut off; libcurl hands it on before it notices.
    if (line.empty() || line.back() != '\n')
      return;
    auto const outcome = parser_.line(line);
    if (outcome == head_parser::outcome::more)
      return;
    if (outcome != head_parser::outcome::done || framing_is_ambiguous(parser_.head())) {
      end_ = end::bad_head;
      return;
    }
    got_head_ = true;
    length_ = announced_length(parser_.head(), rq_.method == "HEAD");
    // libcurl expects a body behind the answer to a HEAD that has a body itself.
    bool const over = rq_.method == "HEAD" && rq_.body.present();
    if (sink_.on_head(parser_.head()) == http::flow::stop || over)
      end_ = end::sink_stopped;
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t n, void* self) noexcept {
    auto& exchange = *static_cast<curl_exchange*>(self);
    auto const bytes = size * n;
    bool const more = exchange.guarded([&] {
      exchange.received_ += bytes;
      auto const piece = std::as_bytes(std::span<char const>(data, bytes));
      if (exchange.sink_.on_data(piece) == http::flow::stop)
        exchange.end_ = end::sink_stopped;
    });
    return more ? bytes : (bytes == 0 ? 1 : 0);
  }

  static std::size_t on_read(char* data, std::size_t size, std::size_t n, void* self) noexcept {
    auto& exchange = *static_cast<curl_exchange*>(self);
    if (exchange.body_left_ == 0)
      return 0;
    std::size_t got = 0;
    bool const more = exchange.guarded([&] {
      auto const room = (std::min<std::uint64_t>)(size * n, exchange.body_left_);
      auto const buffer =
          std::as_writable_bytes(std::span<char>(data, static_cast<std::size_t>(room)));
      got = exchange.rq_.body.reader()->read(buffer);
      exchange.body_left_ -= got;
      if (got == 0)
        exchange.end_ = end::body_short;
    });
    return more ? got : CURL_READFUNC_ABORT;
  }

  static int on_seek(void* self, curl_off_t offset, int origin) noexcept {
    auto& exchange = *static_cast<curl_exchange*>(self);
    if (offset != 0 || origin != 0)
      return CURL_SEEKFUNC_CANTSEEK;
    bool const more = exchange.guarded([&] {
      exchange.rq_.body.reader()->rewind();
      exchange.body_left_ = exchange.rq_.body.reader()->size();
    });
    return more ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
  }

  enum class end {
    none,
    sink_stopped,
    cancelled,
    timed_out,
    body_short,
    bad_head,
    not_resent,
    stale
  };
  struct slist_deleter {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };
  using slist = std::unique_ptr<curl_slist, slist_deleter>;

  Lane& lane_;
  http::request const& rq_;
  http::url const& target_;
  curl_route const& route_;
  transport_options const& options_;
  http::response_sink& sink_;
  request_clock clock_;
  head_parser parser_;
  slist fields_;
  slist resolve_;
  std::exception_ptr thrown_;
  std::optional<std::uint64_t> length_;
  std::uint64_t received_ = 0;
  std::uint64_t body_left_ = 0;
  std::size_t trailer_bytes_ = 0;
  curl_off_t sent_ = 0;
  long tunnel_bytes_ = 0;
  end end_ = end::none;
  bool got_head_ = false;
};

}  // namespace hf::detail

#endif
