// Each CASE is one mistake in a transport. The diagnostic must be short and name what is missing.
#include <hf/sandbox/basic_client.hpp>

struct fake_launcher {
  template <class T>
  hf::instance launch(T&, hf::launch_options const&);
  template <class T>
  hf::instance inspect(T&, std::string const&);
  template <class T>
  std::vector<hf::instance> list(T&, hf::label_filter const&);
  template <class T>
  void stop(T&, std::string const&);
  template <class T>
  std::string logs(T&, std::string const&);
};

struct transport {
  transport() = default;
#if CASE == 1
  // expect: t.send(rq, sink)
  void transmit(hf::http::request const&, hf::http::response_sink&);
#elif CASE == 2
  // expect: is_void or return-type-requirement
  int send(hf::http::request const&, hf::http::response_sink&);
#elif CASE == 3
  // expect: t.send(rq, sink)
  void send(hf::http::request const&);
#elif CASE == 4
  // expect: is_move_constructible_v
  transport(transport const&) = delete;
  void send(hf::http::request const&, hf::http::response_sink&);
#elif CASE == 5
  // expect: t.send(rq, sink)
  void send(hf::http::request&, hf::http::response_sink&);
#elif CASE == 6
  // expect: is_move_assignable_v
  transport(transport&&) = default;
  void send(hf::http::request const&, hf::http::response_sink&);
#else
  // Without a mistake everything compiles.
  void send(hf::http::request const&, hf::http::response_sink&);
#endif
};

#if defined(BY_CONCEPT)
static_assert(hf::transport<transport>);
#else
int main() { hf::basic_client<transport, fake_launcher> client; }
#endif
