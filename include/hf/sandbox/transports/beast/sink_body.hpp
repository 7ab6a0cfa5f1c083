#ifndef HF_SANDBOX_TRANSPORTS_BEAST_SINK_BODY_HPP
#define HF_SANDBOX_TRANSPORTS_BEAST_SINK_BODY_HPP

#include <hf/sandbox/http/response.hpp>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/optional/optional.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>

namespace hf::detail {

/// A Beast body that hands its bytes to a sink as they lie in the connection's buffer.
struct beast_sink_body {
  struct value_type {
    http::response_sink* sink = nullptr;
    /// Set when the sink wants no more.
    bool stopped = false;
    /// What the sink threw. Kept, so that it is told from an exception of the parser itself.
    std::exception_ptr thrown = {};
  };

  class reader {
   public:
    template <bool IsRequest, class Fields>
    reader(boost::beast::http::header<IsRequest, Fields>&, value_type& value) : value_(value) {}

    void init(boost::optional<std::uint64_t> const&, boost::beast::error_code& ec) { ec = {}; }

    template <class Buffers>
    std::size_t put(Buffers const& buffers, boost::beast::error_code& ec) {
      ec = {};
      std::size_t taken = 0;
      for (boost::asio::const_buffer const piece : boost::beast::buffers_range_ref(buffers)) {
        taken += piece.size();
        if (piece.size() == 0)
          continue;
        auto const* const bytes = static_cast<std::byte const*>(piece.data());
        try {
          value_.stopped = value_.sink->on_data({bytes, piece.size()}) == http::flow::stop;
        } catch (...) {
          value_.thrown = std::current_exception();
        }
        if (value_.stopped || value_.thrown) {
          ec = boost::asio::error::operation_aborted;
          break;
        }
      }
      return taken;
    }

    void finish(boost::beast::error_code& ec) { ec = {}; }

   private:
    value_type& value_;
  };
};

}  // namespace hf::detail

#endif
