"""«DCGAN», «DCGAN-WI» and «WGAN-GP»: the three models of paper 002."""
