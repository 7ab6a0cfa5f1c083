#ifndef HF_SANDBOX_TRANSPORTS_CURL_LANE_HPP
#define HF_SANDBOX_TRANSPORTS_CURL_LANE_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/transports/curl/route.hpp>

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

static_assert(LIBCURL_VERSION_NUM >= 0x075000, "curl_transport needs libcurl 7.80 or later");

/// Initialises libcurl once for the process; never undone, because others may use it as well.
template <class = void>
void curl_initialise() {
  static CURLcode const result = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (result != CURLE_OK)
    throw error(errc::internal,
                std::string("libcurl could not be initialised: ") + curl_easy_strerror(result));
}

/// One transfer at a time: a multi handle, which owns the connections, and its one easy handle.
template <class Handle = CURL>
class curl_lane {
 public:
  curl_lane() : multi_(curl_multi_init()), easy_(curl_easy_init()) {
    if (!multi_ || !easy_)
      throw std::bad_alloc();
  }

  [[nodiscard]] CURLM* multi() const noexcept { return multi_.get(); }
  [[nodiscard]] Handle* easy() const noexcept { return easy_.get(); }

  /// Group of the requests that all its connections are for.
  std::string group = {};

  /// Key of the route that the easy handle is set up for.
  [[nodiscard]] std::string const& route() const noexcept { return route_; }
  /// Sets the easy handle up for a route, if it is not; `more` adds to what the route itself sets.
  template <class More>
  void set_up_for(curl_route const& route, More more) {
    if (route_ == route.key())
      return;
    route_.clear();
    curl_easy_reset(easy());
    // A URL that is parsed here once, instead of by libcurl for every request.
    url_.reset(curl_url());
    if (!url_)
      throw std::bad_alloc();
    auto const text = route.origin() + "/";
    if (curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK)
      throw error(errc::invalid_argument, "libcurl does not take the URL " + text);
    curl_set(easy(), CURLOPT_CURLU, url_.get());
    curl_set(easy(), CURLOPT_ERRORBUFFER, error_text_.data());
    route.apply(easy());
    more();
    route_ = route.key();
  }

  /// What libcurl says of the last failure, or an empty text.
  [[nodiscard]] char const* error_text() const noexcept { return error_text_.data(); }
  void clear_error_text() noexcept { error_text_[0] = '\0'; }

  /// Whether the multi handle's own cache of addresses already has this "host:port".
  [[nodiscard]] bool knows_address(std::string const& host_and_port) const {
    return std::find(addresses_.begin(), addresses_.end(), host_and_port) != addresses_.end();
  }
  void add_address(std::string host_and_port) { addresses_.push_back(std::move(host_and_port)); }
  /// libcurl never forgets such addresses; a lane that saw very many is not worth keeping.
  [[nodiscard]] bool worth_keeping() const noexcept { return addresses_.size() < 256; }

 private:
  struct multi_deleter {
    void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
  };
  struct easy_deleter {
    void operator()(Handle* handle) const noexcept { curl_easy_cleanup(handle); }
  };
  struct url_deleter {
    void operator()(CURLU* handle) const noexcept { curl_url_cleanup(handle); }
  };
  std::array<char, CURL_ERROR_SIZE> error_text_{};
  std::unique_ptr<CURLU, url_deleter> url_;
  // The easy handle goes first; the multi handle then closes the connections.
  std::unique_ptr<CURLM, multi_deleter> multi_;
  std::unique_ptr<Handle, easy_deleter> easy_;
  std::vector<std::string> addresses_;
  std::string route_;
};

/// The lanes that no request uses at the moment. Safe to use from several threads.
template <class Lane = curl_lane<>>
class curl_lane_pool {
 public:
  explicit curl_lane_pool(std::size_t max_idle) : max_idle_(max_idle) {}

  /// The lane used last for this route, else a new one, else (when full) the one idle for longest;
  /// always one of this group.
  [[nodiscard]] std::unique_ptr<Lane> take(std::string const& route, std::string const& group) {
    {
      std::lock_guard const lock(mutex_);
      auto const found = std::find_if(idle_.rbegin(), idle_.rend(), [&](auto const& lane) {
        return lane->route() == route && lane->group == group;
      });
      if (found != idle_.rend())
        return remove(std::prev(found.base()));
      auto const oldest = std::find_if(idle_.begin(), idle_.end(),
                                       [&](auto const& lane) { return lane->group == group; });
      if (oldest != idle_.end() && idle_.size() >= max_idle_)
        return remove(oldest);
    }
    auto lane = std::make_unique<Lane>();
    lane->group = group;
    return lane;
  }

  void give_back(std::unique_ptr<Lane> lane) {
    std::unique_ptr<Lane> closed;  // outlives the lock: closing may take a moment
    std::lock_guard const lock(mutex_);
    if (max_idle_ == 0 || !lane->worth_keeping()) {
      closed = std::move(lane);
      return;
    }
    if (idle_.size() >= max_idle_)
      closed = remove(idle_.begin());
    idle_.push_back(std::move(lane));
  }

 private:
  using lanes = std::vector<std::unique_ptr<Lane>>;

  std::unique_ptr<Lane> remove(typename lanes::iterator at) {
    auto lane = std::move(*at);
    idle_.erase(at);
    return lane;
  }

  std::mutex mutex_;
  lanes idle_;
  std::size_t max_idle_;
};

}  // namespace hf::detail

#endif
