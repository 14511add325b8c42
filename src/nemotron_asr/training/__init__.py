"""From manifests to a trained model: data, augmentation, the transducer loss and one trainer."""
