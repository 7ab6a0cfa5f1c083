#ifndef HF_SANDBOX_TESTING_CONFORMANCE_BULK_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_BULK_HPP

#include "behaviour.hpp"
#include "raw_server.hpp"

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

namespace hf::conformance {

/// Bytes of the bulk tests: 1 GiB with `HF_SANDBOX_TEST_SCALE=full`, else 96 MiB.
inline std::uint64_t bulk_size() {
  char const* const scale = std::getenv("HF_SANDBOX_TEST_SCALE");
  bool const full = scale != nullptr && std::string_view(scale) == "full";
  return full ? std::uint64_t{1} << 30 : std::uint64_t{96} << 20;
}

/// Memory that this process holds, in bytes; 0 where that is not known (or distorted by a
/// sanitizer).
inline std::uint64_t memory_in_use() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 0;
#else
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return 0;
#endif
#endif
  std::ifstream file("/proc/self/status");
  std::string word;
  while (file >> word)
    if (word == "VmRSS:") {
      std::uint64_t kib = 0;
      file >> kib;
      return kib * 1024;
    }
  return 0;
#endif
}

/// Most growth that a body of any size may cause.
inline constexpr std::uint64_t growth_limit = 32u << 20;

/// Rule 9: bodies of any size with flat memory.
template <class T>
behaviours bulk_behaviours() {
  return {
      {"a large answer passes with flat memory",
       [] {
         auto const size = bulk_size();
         INFO(size << " bytes");
         std::string const block(1 << 20, 'd');
         raw_server server([&](raw_connection& c) {
           while (auto const rq = c.read_request()) {
             bool const chunked = rq->target == "/chunked";
             c.write(chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                             : "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) +
                                   "\r\n\r\n");
             for (std::uint64_t at = 0; at < size; at += block.size()) {
               if (chunked)
                 c.write("100000\r\n");
               if (!c.write(block))
                 return;
               if (chunked)
                 c.write("\r\n");
             }
             if (chunked)
               c.write("0\r\n\r\n");
           }
         });
         T transport;
         for (char const* const target : {"/", "/chunked"}) {
           std::uint64_t got = 0;
           std::uint64_t before = 0;
           std::uint64_t most = 0;
           lambda_sink sink(
               [&](auto const&) {
                 before = memory_in_use();
                 return http::flow::more;
               },
               [&](auto data) {
                 auto const old = got;
                 got += data.size();
                 if (old >> 23 != got >> 23)
                   most = (std::max)(most, memory_in_use());
                 return http::flow::more;
               });
           transport.send(get(server.url(target)), sink);
           CHECK(got == size);
           CHECK(most <= before + growth_limit);
         }
       }},
      {"a large request passes with flat memory",
       [] {
         auto const size = bulk_size();
         INFO(size << " bytes");
         raw_server server([&](raw_connection& c) {
           while (auto const head = c.read_head())
             c.write(ok(std::to_string(c.discard(head->content_length()))));
         });
         T transport;
         std::uint64_t sent = 0;
         std::uint64_t before = 0;
         std::uint64_t most = 0;
         std::string const block(256 * 1024, 'u');
         made_body body(size, [&] {
           if (sent == 0)
             before = memory_in_use();
           if (sent % (8u << 20) == 0)
             most = (std::max)(most, memory_in_use());
           sent += block.size();
           return block;
         });
         auto const reader = std::make_shared<decltype(body)>(std::move(body));
         CHECK(http::fetch(transport, post(server.url(), reader)).body == std::to_string(size));
         CHECK(sent == size);
         CHECK(most <= before + growth_limit);
       }},
  };
}

}  // namespace hf::conformance

#endif
