/* Who gives way where more callers come than may meet a replica at a time. No device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "verbs/ibv/client_callers.h"

#define CALLERS LKS_CLIENT_IBV_CALLERS_MAX

static struct in6_addr source(unsigned last)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(0x0a000000u | last)};
    return lks_client_ibv_source((const struct sockaddr *)&address);
}

static struct lks_client_ibv_waiting stranger(unsigned last, uint64_t since_ns)
{
    return (struct lks_client_ibv_waiting){
        .here = true, .since_ns = since_ns, .source = source(last)};
}

static void choose__places_are_free__nobody_gives_way(void **state)
{
    struct lks_client_ibv_waiting callers[CALLERS] = {0};
    const struct in6_addr from = source(1);
    (void)state;
    assert_int_equal(lks_client_ibv_callers_choose(callers, &from), 0);
    callers[0] = stranger(2, 10);
    callers[2] = stranger(1, 11);
    assert_int_equal(lks_client_ibv_callers_choose(callers, &from), 1);
}

/* Places are left for others, however many come from there. */
static void choose__many_of_one_source__its_own_oldest_gives_way(void **state)
{
    struct lks_client_ibv_waiting callers[CALLERS] = {0};
    const struct in6_addr from = source(1);
    const struct in6_addr other = source(2);
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        callers[lks_client_ibv_callers_choose(callers, &from)] = stranger(1, 100 + i);
    }
    uint32_t here = 0;
    for (uint32_t i = 0; i < CALLERS; i++) {
        here += callers[i].here ? 1 : 0;
        assert_true(!callers[i].here || callers[i].since_ns >= 100 + 996); /* the youngest */
    }
    assert_int_equal(here, LKS_CLIENT_IBV_A_SOURCE_MAX);
    const uint32_t place = lks_client_ibv_callers_choose(callers, &other);
    assert_false(callers[place].here);
    /* Of one source those that have proved the key are not counted. */
    for (uint32_t i = 0; i < CALLERS; i++) {
        callers[i].proved = callers[i].here;
    }
    assert_false(callers[lks_client_ibv_callers_choose(callers, &from)].here);
}

static void choose__all_taken__the_oldest_without_a_proof_gives_way(void **state)
{
    struct lks_client_ibv_waiting callers[CALLERS];
    const struct in6_addr from = source(99);
    (void)state;
    for (uint32_t i = 0; i < CALLERS; i++) {
        callers[i] = stranger(i, 100 + (i + 3) % CALLERS);
    }
    assert_int_equal(lks_client_ibv_callers_choose(callers, &from), 5); /* since 100 */
    callers[5].proved = true;
    assert_int_equal(lks_client_ibv_callers_choose(callers, &from), 6); /* since 101 */
    for (uint32_t i = 0; i < CALLERS; i++) {
        callers[i].proved = true;
    }
    assert_int_equal(lks_client_ibv_callers_choose(callers, &from), 5);
}

static void source_text__ipv4_ipv6_and_none(void **state)
{
    char text[64];
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    const struct sockaddr_storage none = {0};
    (void)state;
    const struct in6_addr four = source(7);
    lks_client_ibv_source_text(&four, text, sizeof text);
    assert_string_equal(text, "address=10.0.0.7");
    assert_int_equal(inet_pton(AF_INET6, "fd00::1:2", &six.sin6_addr), 1);
    const struct in6_addr from = lks_client_ibv_source((const struct sockaddr *)&six);
    lks_client_ibv_source_text(&from, text, sizeof text);
    assert_string_equal(text, "address=fd00::1:2");
    const struct in6_addr zero = lks_client_ibv_source((const struct sockaddr *)&none);
    lks_client_ibv_source_text(&zero, text, sizeof text);
    assert_string_equal(text, "address=::");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choose__places_are_free__nobody_gives_way),
        cmocka_unit_test(choose__many_of_one_source__its_own_oldest_gives_way),
        cmocka_unit_test(choose__all_taken__the_oldest_without_a_proof_gives_way),
        cmocka_unit_test(source_text__ipv4_ipv6_and_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
