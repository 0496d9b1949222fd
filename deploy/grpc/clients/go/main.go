// Command client reads a product from order service, as often as wanted, and prints what the answers were.
//
// TRISTORE_ORDER_TARGET is such as dns:///order-service:50052, TRISTORE_TOKEN an access token. Arguments: the id of a
// product, and how many calls. It is run in its own folder, from where it finds the proto files.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	// Without this import nobody watches the health of the servers.
	_ "google.golang.org/grpc/health"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const root = "../../../../"

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	proto := protocompile.Compiler{Resolver: protocompile.WithStandardImports(
		&protocompile.SourceResolver{ImportPaths: []string{root + "proto"}})}
	files := must(proto.Compile(context.Background(), "order/v1/catalog_service.proto"))
	catalog := files[0].Services().ByName("CatalogService")
	get := catalog.Methods().ByName("GetProduct")

	config := must(os.ReadFile(root + "deploy/grpc/service-config.json"))
	channel := must(grpc.NewClient(os.Getenv("TRISTORE_ORDER_TARGET"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(config))))
	defer channel.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(),
		"authorization", "Bearer "+os.Getenv("TRISTORE_TOKEN"))

	request, answer := dynamicpb.NewMessage(get.Input()), dynamicpb.NewMessage(get.Output())
	request.Set(get.Input().Fields().ByName("product_id"), protoreflect.ValueOfString(os.Args[1]))
	answers := map[string]int{}
	for range must(strconv.Atoi(os.Args[2])) {
		// Without a deadline of its own, the call has the timeout of the service config.
		err := channel.Invoke(ctx, "/order.v1.CatalogService/GetProduct", request, answer)
		if err == nil {
			answers["OK"]++
		} else {
			answers[status.Code(err).String()+": "+status.Convert(err).Message()]++
		}
	}
	fmt.Println(answers)
}
